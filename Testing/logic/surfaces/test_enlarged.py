"""Label maps enlarged by nearest neighbour: their surfaces are as good as those of the coarse map, against formulas.
Maps that only look a little like it stay as they are."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from DeepSegLogic.data.boxes import box_of
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import enlarged, extract, make_surfaces, write_surfaces
from DeepSegLogic.surfaces.mesh_quality import check_surfaces, mesh_volume_ml

from .shapes import SHAPES, label_map_of, normal_error
from .test_pieces import assert_each_piece_keeps_its_volume, label_map, scattered


def by_centres(labels, ratios):
    """Each fine voxel as the coarse one in which its centre lies; the grids share the corner of the volume."""
    return _enlarged(labels, ratios, [lambda i, r=r: np.floor((i + 0.5) / r) for r in ratios], 0.5)


def by_corners(labels, ratios):
    """Each fine voxel as the nearest coarse centre; the grids share the centre of the first voxel."""
    return _enlarged(labels, ratios, [lambda i, r=r: np.floor(i / r + 0.5) for r in ratios], 0.0)


def _enlarged(labels, ratios, of, corner):
    array, matrix = labels.array, np.eye(4)
    for axis, (ratio, coarse) in enumerate(zip(ratios, of, strict=True)):
        count = array.shape[2 - axis]
        index = coarse(np.arange(int(count * ratio))).astype(int)
        array = array.take(index[index < count], 2 - axis)
        matrix[axis, axis], matrix[axis, 3] = 1 / ratio, corner / ratio - corner
    return LabelMap(np.ascontiguousarray(array), labels.ijk_to_ras @ matrix, labels.structures)


def by_scipy(labels, ratios):
    array = zoom(labels.array, ratios[::-1], order=0)
    steps = (np.array(labels.array.shape[::-1]) - 1) / (np.array(array.shape[::-1]) - 1)
    return LabelMap(array, labels.ijk_to_ras @ np.diag([*steps, 1.0]), labels.structures)


def cropped(labels, slices):
    matrix = labels.ijk_to_ras.copy()
    matrix[:3, 3] = (labels.ijk_to_ras @ [*((s.start or 0) for s in slices[::-1]), 1])[:3]
    return LabelMap(np.ascontiguousarray(labels.array[slices]), matrix, labels.structures)


def mirrored(labels):
    matrix = labels.ijk_to_ras @ np.diag([-1.0, 1, 1, 1])
    matrix[:3, 3] = (labels.ijk_to_ras @ [labels.array.shape[2] - 1, 0, 0, 1])[:3]
    return LabelMap(np.ascontiguousarray(labels.array[..., ::-1]), matrix, labels.structures)


def sizes(array, others=None):
    """Slices per block along (K, J, I); None if the map is taken as it is."""
    found = enlarged.blocks_in(box_of(array), array, array if others is None else others)
    return None if found is None else [block.size for block in found]


def as_given(monkeypatch, labels):
    with monkeypatch.context() as patch:
        patch.setattr(extract, "blocks_in", lambda *_: None)
        return make_surfaces(labels)


def assert_the_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.triangles, other.triangles)


@pytest.mark.parametrize("change", [lambda m: m, mirrored])
@pytest.mark.parametrize("make", [by_centres, by_corners, by_scipy])
@pytest.mark.parametrize("ratios", [(2, 2, 2), (1, 2, 2), (1.875,) * 3, (3.75,) * 3, (2.3, 2.3, 1)])
@pytest.mark.parametrize(("name", "spacing"), [("ball", (2, 2, 2)), ("ellipsoid", (1.5, 1.5, 3))])
def test_normals_are_as_good_as_those_of_the_coarse_map(name, spacing, ratios, make, change):
    """As they are, these maps give errors of 10 to 33 degrees. Volumes of blocks of unequal sizes are not those of the
    coarse voxels, so pieces grow or shrink a little."""
    coarse, shape = label_map_of(SHAPES[name], spacing), SHAPES[name]
    fine = change(make(coarse, ratios))
    before, after = (make_surfaces(labels)["s1"] for labels in (coarse, fine))
    assert len(after.triangles) == len(before.triangles)
    off = after.points.mean(0) - before.points.mean(0)  # where programs round the same way at every second voxel
    assert (np.abs(off) < 0.51 * fine.spacing_ijk).all()
    error = normal_error(shape, after.points - off, after.triangles)
    assert error < 1.3 * normal_error(shape, before.points, before.triangles)
    assert mesh_volume_ml(after.points, after.triangles) == pytest.approx(fine.volume_ml("s1"), rel=5e-4)
    apart = cKDTree(before.points).query(after.points - off)[0]
    assert apart.max() < 0.6 * np.linalg.norm(fine.spacing_ijk)


@pytest.mark.parametrize("ratio", [1.5, 2, 1.875, 2.5, 3.75])
@pytest.mark.parametrize("change", [lambda m: m, mirrored])
def test_blocks_and_structures_that_the_border_cuts(ratio, change):
    """Both halves keep their volume, share their boundary, and end at the border of the volume."""
    whole = by_corners(label_map_of(SHAPES["ball"], (2, 2, 2), halves=True), (ratio,) * 3)
    fine = change(cropped(whole, (slice(int(6.2 * ratio), int(-5.4 * ratio)), slice(11, None), slice(None, -13))))
    assert sizes(fine.array) == pytest.approx([ratio] * 3, rel=0.02)
    surfaces = make_surfaces(fine)
    corners = np.array([[-0.5] * 3, np.array(fine.array.shape[::-1]) - 0.5])
    low, high = np.sort(corners @ fine.ijk_to_ras[:3, :3].T + fine.ijk_to_ras[:3, 3], axis=0)
    for surface, quality in zip(surfaces, check_surfaces(surfaces, fine).values(), strict=True):
        assert quality.sound
        assert abs(quality.drift_percent) < 0.06
        assert not quality.self_intersections
        assert quality.to_mask_mm[2] < np.sqrt(3) / 2 * (2 + 2 / ratio)
        assert (surface.points > low - 1).all()  # half a coarse voxel
        assert (surface.points < high + 1).all()
    points = [set(map(tuple, s.points)) for s in surfaces]
    net_of_both = extract.build_net(fine.array)
    shared = len(set(net_of_both.quads[(net_of_both.low > 0) & (net_of_both.high > 0)].ravel()))
    assert len(points[0] & points[1]) > shared / ratio**2 / 2


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("ratio", [2, 1.875, 3.5])
def test_each_piece_keeps_the_volume_of_the_given_voxels(seed, ratio):
    coarse = label_map(scattered(seed), (1, 1, 2))
    fine = by_centres(coarse, (ratio,) * 3)
    surfaces = make_surfaces(fine)
    assert sizes(fine.array) == pytest.approx([ratio] * 3, rel=0.02)
    for surface in surfaces:
        volume = mesh_volume_ml(surface.points, surface.triangles)
        assert volume == pytest.approx(fine.volume_ml(surface.structure.name), rel=2e-3)
    if ratio == 2:
        assert_each_piece_keeps_its_volume(surfaces, coarse)


def test_volumes_of_pieces_are_counted_in_the_given_voxels():
    from scipy.ndimage import generate_binary_structure, label

    fine = by_centres(label_map(scattered(3)), (1.875, 2.4, 3))
    blocks = enlarged.blocks_in(box_of(fine.array), fine.array, fine.array)
    net = extract.build_net(fine.array[np.ix_(*(b.starts for b in blocks))])
    found = np.sort(enlarged.volumes(net, blocks)[1:]) * np.prod([b.size for b in blocks])
    expected = []
    for value in (1, 2):
        expected += np.bincount(label(fine.array == value, generate_binary_structure(3, 2))[0].ravel())[1:].tolist()
    np.testing.assert_allclose(found, sorted(expected))


def test_the_coarse_slices_lose_nothing():
    coarse = label_map_of(SHAPES["torus"], (2, 2, 2), halves=True)
    for ratios in ((1.875, 2.5, 3.3), (1.25, 1.3, 1.4), (2, 1, 7)):
        fine = by_corners(coarse, ratios)
        blocks = enlarged.blocks_in(box_of(fine.array), fine.array, fine.array)
        back = fine.array[np.ix_(*(b.starts for b in blocks))]
        for axis, block in enumerate(blocks):
            back = np.repeat(back, block.lengths, axis)
        around = tuple(slice(b.starts[0], b.starts[0] + b.lengths.sum()) for b in blocks)
        np.testing.assert_array_equal(back, fine.array[around])
        assert fine.array[around].sum() == fine.array.sum()


def test_a_small_structure_is_made_on_the_grid_that_the_others_show():
    array = np.zeros((40, 40, 40), np.uint8)
    array[label_map_of(SHAPES["ball"], (2.4, 2.4, 2.4)).array[:38, :38, :38].nonzero()] = 1
    array[18:22, 18:21, 18:23] = 2
    fine = by_centres(label_map(array), (2, 2, 2))
    alone = np.where(fine.array == 2, fine.array, 0)
    assert sizes(alone) is None
    assert sizes(alone, fine.array) == pytest.approx([2, 2, 2], abs=0.05)
    assert len(make_surfaces(fine, ["s2"])["s2"].triangles) == len(
        make_surfaces(label_map(array), ["s2"])["s2"].triangles
    )


@pytest.mark.parametrize("ratios", [(2, 2, 2), (1, 3, 3)])
@pytest.mark.parametrize("value", [0, 1, 2])
def test_a_single_voxel_painted_anywhere_gives_the_surfaces_of_the_fine_voxels(monkeypatch, ratios, value):
    fine = by_centres(label_map_of(SHAPES["ellipsoid"], (3, 3, 3)), ratios)
    fine.structures.append(structure_for("s2", 2))
    assert sizes(fine.array) is not None
    rng, found = np.random.default_rng(value), 0
    while found < 4:
        place = tuple(rng.integers(0, fine.array.shape))
        if fine.array[place] == value:
            continue
        painted = LabelMap(fine.array.copy(), fine.ijk_to_ras, fine.structures)
        painted.array[place] = value
        assert sizes(painted.array) is None
        assert_the_same(make_surfaces(painted), as_given(monkeypatch, painted))
        found += 1


def test_no_smoothing_gives_the_faces_of_the_given_voxels(monkeypatch):
    fine = by_centres(label_map_of(SHAPES["ball"], (3, 3, 3)), (2, 2, 2))
    rough = make_surfaces(fine, smoothing="none")["s1"]
    net = extract.build_net(fine.array)
    assert len(rough.triangles) == 2 * len(net.quads)
    assert mesh_volume_ml(rough.points, rough.triangles) == pytest.approx(fine.volume_ml("s1"), rel=1e-9)


def test_surfaces_for_printing_are_solid(tmp_path):
    fine = by_centres(label_map_of(SHAPES["vessel"], (2, 2, 2), halves=True), (1.875,) * 3)
    written = write_surfaces(fine, tmp_path / "models", ["stl"], printable=True, max_error_mm=0.5, joint=True)
    for quality in written.qualities.values():
        assert quality.sound
        assert abs(quality.drift_percent) < 1.1


def shapes_at_many_spacings(rng):
    """Masks of (K, J, I) voxels: askew, upright, with a middle on a voxel or between two."""
    grid = np.moveaxis(np.indices((48, 48, 48)), 0, -1).astype(float)
    for turn in range(40):
        spacing = rng.uniform(0.4, 6, 3) if turn % 5 else np.array([1, 1, rng.integers(1, 6)])
        middle = 24 + (np.round(rng.uniform(-2, 2, 3)) / 2 if turn % 3 == 0 else rng.uniform(-1, 1, 3))
        turned = [np.eye(3), Rotation.random(random_state=rng).as_matrix()][turn % 2]
        if turn % 4 == 1:
            turned = Rotation.from_euler("x", rng.uniform(0, 90), degrees=True).as_matrix()
        x, y, z = p = np.moveaxis(((grid - middle) * spacing) @ turned, -1, 0)
        half = rng.uniform(0.15, 0.9, 3) * spacing.min() * 24 * rng.uniform(1, 2)
        yield np.linalg.norm(p.T / half, axis=-1).T < 1
        yield (np.abs(p.T) < half).all(-1).T
        yield (np.hypot(x, y) < half[0]) & (np.abs(z) < half[2])
        yield np.hypot(x, y) / half[0] + z / half[2] / 2 < 0.5
        yield np.abs(x) < spacing.max() * rng.uniform(0.6, 3)
        yield np.hypot(x - 5 * np.sin(z / 15), y) < spacing.max() * rng.uniform(0.7, 4)
        across, high = rng.integers(1, 7, 2)
        yield grid[..., 0] // across * high < grid[..., 1]
        yield gaussian_filter(rng.normal(size=(40, 40, 40)), rng.uniform(0, 4)) > 0
        yield rng.random(rng.integers(3, 40, 3)) < rng.random()


@pytest.mark.parametrize("seed", range(3))
def test_shapes_noise_boxes_cylinders_plates_and_stairs_are_not_taken_for_enlarged(seed):
    for mask in shapes_at_many_spacings(np.random.default_rng(seed)):
        if mask.any():
            assert sizes(mask.astype(np.uint8)) is None


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_few_blocks_are_not_enough(count):
    rng = np.random.default_rng(count)
    array = rng.integers(1, 3, (count, count, count)).repeat(4, 0).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    assert sizes(np.pad(array, 3)) is None
    assert sizes(array) is None


def test_blocks_on_no_uniform_grid_stay():
    coarse = label_map_of(SHAPES["ball"], (3, 3, 3)).array
    lengths = np.tile([2, 3, 4], 11)[: len(coarse)]
    for axis in range(3):
        assert sizes(np.repeat(coarse, lengths, axis)) is None


def test_a_map_of_which_one_structure_was_enlarged_stays(monkeypatch):
    array = by_centres(label_map_of(SHAPES["ball"], (2, 2, 2)), (2, 2, 2)).array
    natural = label_map_of(SHAPES["torus"], (1, 1, 1)).array
    array = np.where(natural[: len(array), : len(array), : len(array)] > 0, 2, array)
    labels = label_map(array)
    assert sizes(labels.array) is None
    assert_the_same(make_surfaces(labels), as_given(monkeypatch, labels))


def test_surfaces_at_a_border_that_cuts_blocks_are_always_the_same():
    """Also after other work left its numbers in the memory."""
    whole = by_corners(label_map_of(SHAPES["ball"], (2, 2, 2), halves=True), (2.5,) * 3)
    fine = cropped(whole, (slice(32, -30), slice(None), slice(None)))
    first = make_surfaces(fine)
    for _ in range(3):
        spoiled = [np.full(n, np.nan, np.float32) for n in 2 * [len(s.points) * 3 for s in first]]
        del spoiled
        check_surfaces(first, fine)
        assert_the_same(make_surfaces(fine), first)


def test_shared_label_maps(shared_data):
    """Only that of the DICOM series was enlarged, from 3 mm."""
    from DeepSegLogic.io import read_label_map

    for path in ("label_maps/s0327.nii.gz", "label_maps/s0328.nii.gz", "abdomen_ct/labels.nii.gz"):
        assert sizes(read_label_map(shared_data / path).array) is None
    fine = read_label_map(shared_data / "abdomen_ct_dicom" / "labels.nii.gz")
    assert np.multiply(sizes(fine.array), fine.spacing_kji) == pytest.approx([3, 3, 3], rel=0.1)
