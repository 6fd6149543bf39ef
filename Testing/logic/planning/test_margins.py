"""Margins against the nearest neighbor in space, SimpleITK's Danielsson map, and the volumes of balls."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import cKDTree

from DeepSegLogic import InputError, LabelMap, Structure, UsageError
from DeepSegLogic.data.itk import sitk_image
from DeepSegLogic.planning import margin

from .scenes import GRIDS, ball, box, scene


def whole_mask(label_map, found):
    mask = np.zeros(label_map.array.shape, bool)
    mask[found.box] = found.mask
    return mask


def danielsson(mask, grid):
    """The distance in mm of each voxel to the nearest one of a mask, by SimpleITK."""
    image = sitk_image(mask.astype(np.uint8), grid)
    found = sitk.DanielssonDistanceMap(image, inputIsBinary=True, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(found)


def nearest(mask, grid):
    """The same, exactly, from the voxels' places in RAS."""
    places = np.moveaxis(np.indices(mask.shape)[::-1], 0, -1) @ grid[:3, :3].T
    return cKDTree(places[mask]).query(places.reshape(-1, 3))[0].reshape(mask.shape)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("mm", [7.3, -4.1])
def test_a_margin_is_euclidean(grid, mm):
    """Danielsson's map errs at some voxels, by less than half a voxel."""
    parts, _ = scene(grid, {"tumor": ball((0, 2, -3), 14)}, 25)
    start = parts.array == 1 if mm > 0 else parts.array != 1
    found = whole_mask(parts, margin(parts, "tumor", mm))
    expected, by_danielsson = (
        far <= mm if mm > 0 else far > -mm for far in (nearest(start, grid), danielsson(start, grid))
    )
    np.testing.assert_array_equal(found, expected)
    assert (found != by_danielsson).sum() <= 0.003 * found.sum()


@pytest.mark.parametrize("grid", GRIDS)
def test_the_volume_of_a_grown_ball(grid):
    """Its radius grows by the width of the margin, within half a voxel."""
    parts, _ = scene(grid, {"tumor": ball((0, 0, 0), 12)}, 36)
    for mm in (10, -5):
        found = margin(parts, "tumor", mm)
        radius = (found.ml * 1000 / (4 / 3 * np.pi)) ** (1 / 3)
        assert radius == pytest.approx(12 + mm, abs=0.5 * parts.spacing_ijk.max())


def test_what_lies_inside_and_what_is_kept():
    """Slabs of 4 mm beside a tumor's flat side: the margin holds the first whole and half of the second."""
    shapes = {"tumor": box((-10, -10, -10), (0, 10, 10)), "liver": box((0, -5, -5), (4, 5, 5))}
    shapes |= {"vein": box((4, -5, -5), (8, 5, 5)), "spleen": box((20, -5, -5), (25, 5, 5))}
    parts, _ = scene(np.eye(4), shapes, 30)
    found = margin(parts, "tumor", 6)
    assert [part.structure for part in found.inside] == ["liver", "vein"]
    liver, vein = found.inside
    assert liver.percent == 100 and liver.ml == pytest.approx(parts.volume_ml("liver"))
    assert vein.percent == 50 and vein.ml == pytest.approx(parts.volume_ml("vein") / 2)
    kept = margin(parts, "tumor", 6, keep=["Vein"])
    assert [part.structure for part in kept.inside] == ["liver"]
    assert kept.ml == pytest.approx(found.ml - vein.ml)


def test_overlapping_structures_are_all_looked_at():
    array = np.zeros((20, 20, 20), np.uint8)
    liver, tumor = array.copy(), array.copy()
    liver[2:18, 2:18, 2:18], tumor[8:12, 8:12, 8:12] = 1, 2
    structures = [Structure(1, "liver", "Liver"), Structure(2, "tumor", "Tumor")]
    layers = [LabelMap(a, np.eye(4), [s]) for a, s in zip((liver, tumor), structures, strict=True)]
    both = LabelMap(np.maximum(liver, tumor), np.eye(4), structures, layers=layers)
    found = margin(both, "tumor", 1)
    assert found.inside[0].ml == pytest.approx(found.ml)


def test_a_margin_that_leaves_the_volume_says_so():
    parts, _ = scene(np.eye(4), {"tumor": ball((0, 0, 0), 8)}, 12)
    assert margin(parts, "tumor", 2).notes == ()
    assert margin(parts, "tumor", 9).notes == ("The margin of Tumor is cut by the border of the volume.",)


def test_widths_that_leave_nothing_or_are_no_number():
    parts, _ = scene(np.eye(4), {"tumor": ball((0, 0, 0), 8)}, 12)
    with pytest.raises(InputError, match="Nothing is left of Tumor after shrinking it by 20 mm"):
        margin(parts, "tumor", -20)
    with pytest.raises(UsageError, match="nan mm"):
        margin(parts, "tumor", float("nan"))
