"""Structures that touch in narrow strips: each is as smooth as by itself, and none overlaps another."""

import numpy as np
import pytest
import vtk
from scipy.ndimage import gaussian_filter
from vtk.util import numpy_support

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import make_surfaces
from DeepSegLogic.surfaces.fairing import SMOOTHING, fair
from DeepSegLogic.surfaces.mesh_quality import mesh_volume_ml
from DeepSegLogic.surfaces.self_intersections import repaired
from DeepSegLogic.surfaces.surface import polydata
from DeepSegLogic.surfaces.surface_net import build_net

from .shapes import SHAPES, SPACINGS, label_map_of

SLOPE = np.array([0.13, 0.07])  # of K along I and J, in voxels


def label_map(array, spacing=(1, 1, 1)):
    structures = [structure_for(f"s{v}", v) for v in range(1, array.max() + 1)]
    return LabelMap(array, np.diag([*spacing, 1.0]), structures)


def layers(gap):
    """Two slabs that lie askew, with a gap of less than a voxel between them."""
    k, j, i = np.ogrid[:24, :40, :44]
    height = k - 9 - SLOPE[0] * i - SLOPE[1] * j + 0 * i
    array = np.where(height < 0, 1, np.where(height > gap, 2, 0)).astype(np.uint8)
    array[:3] = array[-3:] = array[:, :3] = array[:, -3:] = array[:, :, :3] = array[:, :, -3:] = 0
    return label_map(array)


def tilts(surface, upper):
    """Mean angle in degrees between the slabs and the triangles of one, beside the gap and far from the sides."""
    corners = surface.points[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    middle, true = corners.mean(1), np.array([*-SLOPE, 1.0])
    inside = (middle[:, :2] > 9).all(1) & (middle[:, 0] < 34) & (middle[:, 1] < 30)
    beside = inside & (np.abs(middle[:, 2] - 9 - middle[:, :2] @ SLOPE) < 2)
    cosines = normals[beside] @ true / np.linalg.norm(true) / areas[beside] * (-1 if upper else 1)
    return np.average(np.degrees(np.arccos(np.clip(cosines, -1, 1))), weights=areas[beside])


def blobs(seed, shape=(20, 22, 24)):
    """Three structures with the same field as thickness, so that they touch, and part, in many ways."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(3, *shape)), (0, 1.7, 1.7, 1.7))
    return np.where(fields.max(0) > 0.02, fields.argmax(0) + 1, 0).astype(np.uint8)


def inside(surface, points):
    """By VTK, which points lie in a closed surface."""
    cloud, selected = vtk.vtkPolyData(), vtk.vtkSelectEnclosedPoints()
    places = vtk.vtkPoints()
    places.SetData(numpy_support.numpy_to_vtk(points, deep=True))
    cloud.SetPoints(places)
    selected.SetInputData(cloud)
    selected.SetSurfaceData(polydata(surface.points, surface.triangles))
    selected.SetTolerance(1e-7)
    selected.Update()
    return numpy_support.vtk_to_numpy(selected.GetOutput().GetPointData().GetArray("SelectedPoints")) > 0


def both_sides(array, axis):
    """Whether neither voxel of neighbours along an axis is background."""
    filled = array > 0
    return np.delete(filled, -1, axis) & np.delete(filled, 0, axis)


@pytest.mark.parametrize("gap", [0.3, 0.5, 0.7])
def test_slabs_a_part_of_a_voxel_apart_are_as_flat_as_by_themselves(gap):
    labels = layers(gap)
    touching = (np.diff(labels.array.astype(int), axis=0) == 1) & (labels.array[:-1] == 1)
    assert touching.sum() > 100  # both happens: they touch, and a voxel lies between them
    assert ((labels.array[:-2] == 1) & (labels.array[2:] == 2) & (labels.array[1:-1] == 0)).sum() > 100
    together = make_surfaces(labels)
    for name, upper in (("s1", False), ("s2", True)):
        alone = tilts(make_surfaces(labels, [name])[name], upper)
        assert alone < 3
        assert tilts(together[name], upper) < 1.05 * alone  # with a shared boundary: four times as much


@pytest.mark.parametrize(("width", "shared"), [(1, False), (4, False), (5, True), (8, True)])
def test_only_broad_contacts_are_shared(width, shared):
    """Two boxes side by side, the second one as thin as the strip in which they touch."""
    array = np.zeros((20, 20, 24), np.uint8)
    array[4:16, 4:16, 4:12] = 1
    array[8 : 8 + width, 4:16, 12:20] = 2
    together = make_surfaces(label_map(array), smoothing="none")
    net = build_net(array)
    faces = (net.low > 0) & (net.high > 0)
    assert faces.sum() == (width * 12 if shared else 0)
    assert net.facing.shape[1] == 0 if shared else (net.facing[0] == 2).all()
    for surface in together:
        volume = mesh_volume_ml(surface.points, surface.triangles)
        assert volume == pytest.approx((array == surface.structure.value).sum() / 1000, abs=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_broad_contact_is_shared_to_its_rim(spacing):
    array = label_map_of(SHAPES["ball"], spacing, halves=True).array.astype(int)
    voxel_faces = sum((np.diff(array, axis=axis) != 0)[both_sides(array, axis)].sum() for axis in range(3))
    net = build_net(array.astype(np.uint8))
    assert ((net.low > 0) & (net.high > 0)).sum() == voxel_faces


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 3)])
def test_walls_stay_in_order_and_structures_do_not_overlap(seed, spacing):
    array = blobs(seed)
    net = build_net(array)
    assert net.facing.shape[1] > 100
    axis, lower, higher = net.facing
    np.testing.assert_array_equal(net.vertices[lower], net.vertices[higher])
    for smoothing in SMOOTHING:
        net = build_net(array)
        positions = fair(net, smoothing, np.array(spacing), net.vertices)
        for places in (positions, repaired(net, positions, net.vertices, np.diag([*spacing, 1.0]))):
            assert (places[lower, 2 - axis] <= places[higher, 2 - axis] + 1e-6).all()
            assert np.abs(places - net.vertices).max() < 0.5
    surfaces = list(make_surfaces(label_map(array, spacing)))
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, np.array(array.shape[::-1]) - 0.5, (60000, 3)) * spacing
    within = np.stack([inside(s, points) for s in surfaces])
    assert (within.sum(0) > 1).mean() < 1e-3  # triangles may cross a little between vertices that are in order


@pytest.mark.parametrize("seed", range(12))
def test_edges_are_the_sides_of_the_faces(seed):
    """Found once more from the faces alone, for structures that touch in every way."""
    rng = np.random.default_rng(seed)
    array = blobs(seed) if seed % 2 else rng.choice(4, (9, 10, 11), p=rng.dirichlet([1, 1, 1, 1])).astype(np.uint8)
    net = build_net(array)
    places = net.vertices[:, ::-1][net.quads]
    axes = np.argmax((places == places[:, :1]).all(1), 1)
    sides = [((axes + 2) % 3, 0, 1), ((axes + 1) % 3, 1, 2), ((axes + 2) % 3, 3, 2), ((axes + 1) % 3, 0, 3)]
    edges = np.concatenate([np.stack([along, net.quads[:, a], net.quads[:, b]]) for along, a, b in sides], 1)
    edges, counts = np.unique(edges, axis=1, return_counts=True)
    axis, start = np.nonzero(net.ahead >= 0)
    found = np.stack([axis, start, net.ahead[axis, start], net.meeting[axis, start]])
    found = np.concatenate([found, net.doubles], 1)
    np.testing.assert_array_equal(found[:, np.lexsort(found[2::-1])], np.concatenate([edges, counts[None]]))
    assert np.isin(np.arange(len(net.vertices)), net.quads).all()
