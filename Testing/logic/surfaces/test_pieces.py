"""Each connected piece of a structure: found as scipy finds it, with its own volume as vtk measures it."""

import numpy as np
import pytest
import vtk
from scipy.ndimage import gaussian_filter, generate_binary_structure, label
from scipy.spatial import cKDTree
from vtk.util import numpy_support

from DeepSegLogic.data.affine import ras_to_ijk
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import SMOOTHING, make_surfaces
from DeepSegLogic.surfaces.pieces import Pieces
from DeepSegLogic.surfaces.surface import polydata

FACES_AND_EDGES = generate_binary_structure(3, 2)
CELL = 9  # voxels along each side of the room that a piece has for itself


def label_map(array, spacing=(1, 1, 1)):
    structures = [structure_for(f"s{v}", v) for v in range(1, array.max() + 1)]
    return LabelMap(array.astype(np.uint8), np.diag([*spacing, 1.0]), structures)


def scattered(seed, cells=(4, 4, 5)):
    """Two structures in many pieces, boxes and ellipsoids of 1 to 343 voxels; of many, each has a part.

    No voxels of a piece share only an edge, where a bridge would join them.
    """
    rng = np.random.default_rng(seed)
    array = np.zeros(np.multiply(cells, CELL), np.uint8)
    for cell in np.ndindex(cells):
        grid = np.indices((CELL,) * 3).reshape(3, -1).T - rng.uniform(3.5, 4.5, 3)
        inside = (np.abs(grid / (0.3 + 3.2 * rng.random(3) ** 2)) ** rng.choice([2, 40])).sum(1) < 1
        inside[np.abs(grid).sum(1).argmin()] = True
        values = np.where(inside, rng.integers(1, 3), 0)
        if rng.random() < 0.5:
            values[inside & (grid > rng.uniform(-2, 1, 3)).all(1)] = 1
        array[tuple(slice(c * CELL, (c + 1) * CELL) for c in cell)] = values.reshape((CELL,) * 3)
    return array


def volumes_by_vtk(surface):
    """Volume of each connected part of a surface in mm³, and one of its points."""
    parts = vtk.vtkPolyDataConnectivityFilter()
    parts.SetInputData(polydata(surface.points, surface.triangles))
    parts.SetExtractionModeToSpecifiedRegions()
    parts.Update()
    clean, mass = vtk.vtkCleanPolyData(), vtk.vtkMassProperties()
    clean.SetInputConnection(parts.GetOutputPort())
    clean.PointMergingOff()
    mass.SetInputConnection(clean.GetOutputPort())
    found = []
    for number in range(parts.GetNumberOfExtractedRegions()):
        parts.InitializeSpecifiedRegionList()
        parts.AddSpecifiedRegion(number)
        mass.Update()
        points = numpy_support.vtk_to_numpy(clean.GetOutput().GetPoints().GetData())
        found.append((mass.GetVolume(), points.mean(0)))
    return found


def assert_each_piece_keeps_its_volume(surfaces, labels):
    """Every piece lies near the middle of a cell, alone with at most one of the other structure."""
    voxel = np.prod(labels.spacing_ijk)
    for surface in surfaces:
        mask = labels.array == surface.structure.value
        pieces, count = label(mask, FACES_AND_EDGES)
        voxels = np.bincount(pieces.ravel())
        found = volumes_by_vtk(surface)
        assert len(found) == count
        places = np.argwhere(mask)
        nearest = cKDTree(places[:, ::-1]).query(ras_to_ijk(np.array([m for _, m in found]), labels.ijk_to_ras))[1]
        numbers = pieces[tuple(places[nearest].T)]
        assert len(set(numbers.tolist())) == count
        off = np.abs(np.array([v for v, _ in found]) / voxel - voxels[numbers]) - 6e-4 * voxels[numbers]
        assert off.max() < 0.1  # parts of a few touch at a corner, and are kept apart there
        assert (off < 0.025).mean() > 0.95


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    array = np.pad(rng.choice(4, rng.integers(1, 12, 3), p=rng.dirichlet([1, 1, 1, 1])), 1).astype(np.uint8)
    flat, strides = array.ravel(), np.array(array.strides)
    pieces = Pieces(flat, strides, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    ours = pieces.of(np.arange(len(flat)), flat)
    theirs, count = np.zeros(len(flat), int), 0
    for value in (1, 2, 3):
        found, more = label(array == value, FACES_AND_EDGES)
        theirs += np.where(found > 0, found + count, 0).ravel()
        count += more
    assert len(np.unique(np.stack([ours, theirs]), axis=1).T) == count + 1
    assert (ours > 0).tolist() == (flat > 0).tolist()
    np.testing.assert_array_equal(pieces.voxels[1:], np.bincount(ours)[1:])
    assert pieces.voxels[0] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 5)])
def test_each_piece_keeps_its_volume(seed, spacing):
    labels = label_map(scattered(seed), spacing)
    sizes = np.bincount(label(labels.array > 0, FACES_AND_EDGES)[0].ravel())[1:]
    assert (sizes == 1).any()
    assert (sizes > 100).any()
    assert_each_piece_keeps_its_volume(make_surfaces(labels), labels)
    for name in ("s1", "s2"):
        assert_each_piece_keeps_its_volume(make_surfaces(labels, [name]), labels)


@pytest.mark.parametrize("smoothing", [s for s in SMOOTHING if s != "none"])
def test_pieces_keep_their_volume_however_strong_the_smoothing(smoothing):
    labels = label_map(scattered(5), (1, 1, 2))
    surfaces = make_surfaces(labels, smoothing=smoothing)
    assert_each_piece_keeps_its_volume(surfaces, labels)
    for before, after in zip(make_surfaces(labels, smoothing="none"), surfaces, strict=True):
        moved = ras_to_ijk(after.points, labels.ijk_to_ras) - ras_to_ijk(before.points, labels.ijk_to_ras)
        assert np.abs(moved).max() <= 0.5


def test_small_pieces_do_not_change_a_large_one():
    alone = np.zeros((40, 24, 24), np.uint8)
    alone[4:36, 4:12, 4:9] = 1
    among = alone.copy()
    among[3:37:2, 15:22:2, 3:22:2] = 1
    large = [max(volumes_by_vtk(make_surfaces(label_map(a))["s1"]))[0] for a in (alone, among)]
    assert large[0] == pytest.approx(large[1], rel=6e-4)
    assert large[0] == pytest.approx(alone.sum(), rel=6e-4)


def test_a_piece_with_a_cavity_keeps_its_volume():
    """A wall with a ball inside: three surfaces, two pieces of one structure and a gap between them."""
    distance = np.linalg.norm(np.indices((26, 26, 26)).T - 12.6, axis=-1).T
    array = ((distance < 10) & (distance > 6) | (distance < 3.2)).astype(np.uint8)
    outer, inner, ball = sorted((v for v, _ in volumes_by_vtk(make_surfaces(label_map(array))["s1"])), reverse=True)
    assert outer - inner == pytest.approx(((distance < 10) & (distance > 6)).sum(), rel=6e-4)
    assert ball == pytest.approx((distance < 3.2).sum(), rel=6e-4)


def test_noise_in_thousands_of_pieces_stays_sound():
    from DeepSegLogic.surfaces.mesh_quality import is_sound

    soft = gaussian_filter(np.random.default_rng(0).normal(size=(6, 32, 32, 32)), (0, 0.7, 0.7, 0.7))
    labels = label_map(soft.argmax(0))
    assert sum(label(labels.array == v, FACES_AND_EDGES)[1] for v in range(1, 6)) > 1000
    for surface in make_surfaces(labels):
        assert is_sound(surface)
        mass = vtk.vtkMassProperties()
        mass.SetInputData(polydata(surface.points, surface.triangles))
        mass.Update()
        assert mass.GetVolume() == pytest.approx((labels.array == surface.structure.value).sum(), rel=0.05)
