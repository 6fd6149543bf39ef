"""Resections against the volumes of caps, and territories against the nearest neighbor along a forked vessel."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from DeepSegLogic import InputError, LabelMap, Structure, UsageError, make_surfaces
from DeepSegLogic.planning import Ellipsoid, Organ, Plane, Territories, digest_of, joined
from DeepSegLogic.surfaces.mesh_quality import check_surfaces

from .scenes import GRIDS, ball, box, cylinder, scene

NORMAL = np.array([2, -1, 2]) / 3


def cap_ml(radius, height):
    return np.pi * height**2 * (3 * radius - height) / 3000


def places_of(label_map, value):
    return np.argwhere(label_map.array == value)[:, ::-1] @ label_map.ijk_to_ras[:3, :3].T + label_map.ijk_to_ras[:3, 3]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("offset", [-7, 0, 11])
def test_a_plane_cuts_a_cap_off_a_ball(grid, offset):
    parts, middle = scene(grid, {"liver": ball((0, 0, 0), 20)}, 24)
    plane = Plane(tuple(middle + offset * NORMAL), tuple(5 * NORMAL))
    found = Organ(parts, "liver").cut([plane])
    cap, rest = found.parts
    whole = cap_ml(20, 40)
    assert cap.percent == pytest.approx(100 * cap_ml(20, 20 - offset) / whole, abs=1.0)
    assert cap.removed and not rest.removed
    assert cap.voxels + rest.voxels == np.count_nonzero(parts.array)
    assert cap.voxels == np.count_nonzero((places_of(parts, 1) - middle) @ NORMAL >= offset)
    assert (found.remnant_ml, found.remnant_percent) == (rest.ml, rest.percent)
    assert cap.percent + rest.percent == pytest.approx(100)
    assert cap.ml + rest.ml == pytest.approx(found.whole_ml)


def test_what_reaches_the_border_of_the_volume_is_a_lower_bound():
    """A ball of which the volume's lower end cuts off a cap: only the lower part is not whole."""
    parts, middle = scene(np.eye(4), {"liver": ball((0, 0, 0), 20)}, 24)
    shown = LabelMap(parts.array[10:], parts.ijk_to_ras, parts.structures)
    organ = Organ(shown, "liver")
    assert shown.array[0].any() and not shown.array[-1].any()
    found = organ.cut([Plane(tuple(middle - (0, 0, 10)), (0, 0, 1))], removed=[1])
    upper, lower = found.parts
    assert (upper.cut, lower.cut, found.remnant_cut) == (False, True, True)
    assert not organ.cut([Plane(tuple(middle - (0, 0, 10)), (0, 0, 1))], removed=[2]).remnant_cut
    whole = Organ(parts, "liver").cut([Plane(tuple(middle), (0, 0, 1))])
    assert not any(part.cut for part in whole.parts) and not whole.remnant_cut


def test_a_plane_through_three_points():
    plane = Plane.through([(1, 0, 5), (3, 0, 5), (1, 2, 5)])
    np.testing.assert_allclose(np.cross(plane.normal, (0, 0, 1)), 0)
    assert plane.normal[2] > 0
    for points in ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], [(0, 0, 0), (0, 0, 0), (1, 2, 3)]):
        with pytest.raises(UsageError, match="on a line"):
            Plane.through(points)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_parts_of_a_sphere_and_two_planes_become_structures(grid):
    """All but the organ's voxels stay; surfaces of the parts close without a gap."""
    parts, middle = scene(grid, {"liver": ball((0, 0, 0), 16), "vein": cylinder(4, 30)}, 22)
    before = parts.array.copy()
    cuts = [Plane(tuple(middle + 3 * NORMAL), tuple(NORMAL)), Plane(tuple(middle), (0, 1, 0.0))]
    cuts.append(Ellipsoid(tuple(np.add(middle, (9, 2, 0))), (6, 5, 4)))
    organ = Organ(parts, "Liver")
    found, divided = organ.cut(cuts), organ.divided(cuts)
    np.testing.assert_array_equal(parts.array, before)
    by_name = {s.name: s for s in divided.structures}
    assert list(by_name) == ["vein", *(part.name for part in found.parts)]
    for part in found.parts:
        assert np.count_nonzero(divided.mask(part.name)) == part.voxels
        assert len(part.sides) == 3
    assert sum(part.voxels for part in found.parts) == np.count_nonzero(before == 1)
    np.testing.assert_array_equal(divided.array == 2, before == 2)
    np.testing.assert_array_equal(divided.array == 0, before == 0)
    surfaces = make_surfaces(divided)
    assert all(quality.sound for quality in check_surfaces(surfaces, divided).values())
    shared = set(map(tuple, surfaces["liver_part_1"].points)) & set(map(tuple, surfaces["liver_part_3"].points))
    assert len(shared) > 10


@pytest.mark.parametrize("grid", GRIDS)
def test_an_enucleation_takes_an_ellipsoid_out(grid):
    parts, middle = scene(grid, {"kidney": box((-20, -20, -20), (20, 20, 20))}, 26)
    axes = ((1, 1, 0), (-1, 1, 0), (0, 0, 2))
    found = Organ(parts, "kidney").cut([Ellipsoid(tuple(middle), (15, 8, 10), axes)])
    assert found.parts[0].ml == pytest.approx(4 / 3 * np.pi * 15 * 8 * 10 / 1000, rel=0.03)
    assert found.parts[0].sides == ("inside",)


@pytest.mark.parametrize("grid", GRIDS)
def test_marks_alone_divide_by_distance(grid):
    parts, middle = scene(grid, {"liver": ball((0, 0, 0), 16)}, 20)
    lines = {"right": np.add(middle, [(5, 0, 0), (9, 4, 0)]), "left": np.add(middle, [(-6, 1, 2), (-9, 0, 0)])}
    cut = Territories({name: [tuple(p) for p in points] for name, points in lines.items()})
    found = Organ(parts, "liver").divided([cut])
    dense = {n: p[0] + np.linspace(0, 1, 500)[:, None] * (p[1] - p[0]) for n, p in lines.items()}
    places = places_of(parts, 1)
    far = np.stack([cKDTree(dense[name]).query(places)[0] for name in lines])
    expected = far.argmin(0) + 1
    mine = found.array[parts.array == 1] - 1
    clear = np.abs(far[0] - far[1]) > 0.1 * parts.spacing_ijk.min()
    np.testing.assert_array_equal(mine[clear], expected[clear])


def fork(points):
    """A stem that forks into two branches, which come back near each other at their ends."""
    ends = [((0, 0, -16), (0, 0, -8)), ((0, 0, -8), (9, 0, 0)), ((9, 0, 0), (4, 0, 10))]
    ends += [((0, 0, -8), (-9, 0, 0)), ((-9, 0, 0), (-4, 0, 10))]
    away = []
    for start, end in np.array(ends, float):
        along = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        away.append(np.linalg.norm(points - start - along[..., None] * (end - start), axis=-1))
    return np.min(away, axis=0) - 2.2


@pytest.mark.parametrize("grid", GRIDS)
def test_marks_spread_along_the_vessel_before_the_organ_is_divided(grid):
    """The mark of the left branch is nearer through the organ to the end of the right one than the right's own."""
    parts, middle = scene(grid, {"liver": ball((0, 0, 0), 18), "vein": fork}, 22)
    marks = {"right": [tuple(np.add(middle, (9, 0, 0)))], "left": [tuple(np.add(middle, (-4, 0, 10)))]}
    marks["stem"] = [tuple(np.add(middle, (0, 0, -15)))]
    organ = Organ(parts, "liver")
    found, divided = organ.cut([Territories(marks, "vein")]), organ.divided([Territories(marks, "vein")])
    assert [part.sides for part in found.parts] == [("right",), ("left",), ("stem",)]
    places = places_of(parts, 1) - middle
    mine = divided.array[parts.array == 1] - 2
    ends = np.linalg.norm(places - (4, 0, 10), axis=1) < 4, np.linalg.norm(places - (-4, 0, 10), axis=1) < 4
    assert (mine[ends[0]] == 1).all() and (mine[ends[1]] == 2).all()
    vein = places_of(parts, 2) - middle
    sides = [cKDTree(vein[(vein[:, 2] > 1) & (sign * vein[:, 0] > 0)]).query(places)[0] for sign in (1, -1)]
    upper = (cKDTree(vein[vein[:, 2] <= 1]).query(places)[0] > np.min(sides, 0)) & (np.abs(sides[0] - sides[1]) > 1e-3)
    assert upper.sum() > 1000
    np.testing.assert_array_equal(mine[upper], np.argmin(sides, 0)[upper] + 1)


def test_a_cut_that_misses_the_organ_says_so():
    parts, middle = scene(np.eye(4), {"liver": ball((0, 0, 0), 8)}, 12)
    found = Organ(parts, "liver").cut([Plane(tuple(middle + 20), (1, 1, 1))])
    assert found.notes == ("Cut 1 misses Liver: all of it is on one side (other side).",)
    assert found.remnant_percent == 100 and len(found.parts) == 1


def test_overlapping_structures_stay_whole():
    liver, tumor = np.zeros((2, 20, 20, 20), np.uint8)
    liver[2:18, 2:18, 2:18], tumor[8:12, 8:12, 8:12] = 1, 2
    structures = [Structure(1, "liver", "Liver"), Structure(2, "tumor", "Tumor")]
    layers = [LabelMap(a, np.eye(4), [s]) for a, s in zip((liver, tumor), structures, strict=True)]
    both = LabelMap(np.maximum(liver, tumor), np.eye(4), structures, layers=layers)
    divided = Organ(both, "liver").divided([Plane((0, 0, 9.5), (0, 0, 1))])
    assert np.count_nonzero(divided.mask("liver_part_1")) == np.count_nonzero(liver) / 2
    np.testing.assert_array_equal(divided.mask("tumor"), tumor == 2)
    again = joined(divided, "liver")
    np.testing.assert_array_equal(again.mask("liver"), liver == 1)
    np.testing.assert_array_equal(again.mask("tumor"), tumor == 2)
    assert digest_of(again) == digest_of(both)


def test_cuts_that_cannot_be_made_are_refused():
    parts, middle = scene(np.eye(4), {"liver": ball((0, 0, 0), 8), "vein": cylinder(2, 9)}, 12)
    organ = Organ(parts, "liver")
    middle = tuple(middle)
    with pytest.raises(UsageError, match="0 cuts would make 1 parts"):
        organ.cut([])
    with pytest.raises(UsageError, match="would make 128 parts"):
        organ.cut([Plane(middle, (1, 0, 0))] * 7)
    with pytest.raises(UsageError, match="no part 3 of Liver"):
        organ.cut([Plane(middle, (1, 0, 0))], removed=[3])
    with pytest.raises(UsageError, match="normal of the plane is 0"):
        Plane(middle, (0, 0, 0))
    with pytest.raises(UsageError, match="not three finite numbers"):
        Plane((0, 0, float("nan")), (0, 0, 1))
    with pytest.raises(UsageError, match="not above 0"):
        Ellipsoid(middle, (1, 0, 1))
    with pytest.raises(UsageError, match="right angles"):
        Ellipsoid(middle, (1, 1, 1), ((1, 0, 0), (1, 1, 0), (0, 0, 1)))
    with pytest.raises(UsageError, match="two branches"):
        Territories({"right": [middle]})
    with pytest.raises(UsageError, match="mark 'left' lies outside of the volume"):
        organ.cut([Territories({"right": [middle], "left": [(900, 0, 0)]})])
    with pytest.raises(UsageError, match="at the same place of Vein"):
        organ.cut([Territories({"right": [middle], "left": [middle]}, "vein")])
    empty = LabelMap(parts.array, parts.ijk_to_ras, [*parts.structures, Structure(3, "spleen", "Spleen")])
    with pytest.raises(InputError, match="Spleen has no voxels"):
        Organ(empty, "spleen")
