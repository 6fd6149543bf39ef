"""What a hand means, against distances and projections worked out voxel by voxel."""

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.measure import points_in_poly

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.refinement import editing_tools
from DeepSegLogic.session import Correction

from .conftest import LIVER, SPLEEN


def whole(voxels, shape) -> np.ndarray:
    """A box and its mask on the whole grid."""
    found = np.zeros(shape, bool)
    if voxels is not None:
        found[voxels[0]] = voxels[1]
    return found


def places(phantom) -> np.ndarray:
    """Of all voxels, in RAS, (K, J, I, 3)."""
    shape = phantom.truth.shape
    kji = np.indices(shape).reshape(3, -1).T
    return ijk_to_ras_points(kji[:, ::-1], phantom.matrix()).reshape(*shape, 3)


def test_a_brush_is_a_ball_at_each_place(phantom):
    label_map, at = phantom.labels(), [phantom.ras(20, 20, 20), phantom.ras(20, 20, 27)]
    found = whole(editing_tools.brush(label_map, at[:1], 7.1), label_map.array.shape)
    np.testing.assert_array_equal(found, np.linalg.norm(places(phantom) - at[0], axis=-1) <= 7.1)
    both = whole(editing_tools.brush(label_map, at, 7.1), label_map.array.shape)
    assert (both[found]).all()
    assert both[20, 20, 20:28].all()
    assert editing_tools.brush(label_map, [(9000.0, 0.0, 0.0)], 7.0) is None


def test_a_lasso_selects_one_layer(phantom):
    corners = [(20, 10, 10), (20, 10, 30), (20, 30, 30), (20, 30, 10)]
    label_map = phantom.labels()
    found = whole(editing_tools.lasso(label_map, [phantom.ras(*c) for c in corners]), label_map.array.shape)
    expected = np.zeros_like(found)
    expected[20, 11:30, 11:30] = True
    assert (found[expected]).all()
    assert not found[:20].any() and not found[21:].any()
    assert found.sum() <= 21 * 21
    assert editing_tools.lasso(label_map, [phantom.ras(20, 10, 10)]) is None


@pytest.mark.parametrize("perspective", [False, True])
def test_scissors_select_what_is_seen_inside_the_curve(phantom, perspective):
    label_map = phantom.labels()
    middle = np.array(phantom.ras(20, 22, 20))
    ras_to_view = np.eye(4)  # from the front: x is right, y is up, 3 px per mm
    ras_to_view[:2] = [[3, 0, 0, 200 - 3 * middle[0]], [0, 0, 3, 200 - 3 * middle[2]]]
    if perspective:  # the eye is 90 mm away
        ras_to_view[3] = [0, 1 / 90, 0, 1 - middle[1] / 90]
        ras_to_view[:2] += 200 * (ras_to_view[3] - [0, 0, 0, 1])
    curve = np.array([(180.0, 180.0), (260.0, 190.0), (230.0, 250.0), (190.0, 230.0)])
    found = whole(editing_tools.scissors(label_map, "liver", curve, ras_to_view), label_map.array.shape)
    seen = np.concatenate([places(phantom), np.ones((*label_map.array.shape, 1))], -1) @ ras_to_view.T
    pixels = (seen[..., :2] / seen[..., 3:]).reshape(-1, 2)
    inner, outer = curve.mean(0) + 0.97 * (curve - curve.mean(0)), curve.mean(0) + 1.03 * (curve - curve.mean(0))
    surely, maybe = (points_in_poly(pixels, c).reshape(found.shape) for c in (inner, outer))
    liver = label_map.array == LIVER
    assert found[surely & liver].all()
    assert not found[~maybe | ~liver].any()
    assert 100 < found.sum() < liver.sum() - 100
    assert (
        editing_tools.scissors(label_map, "liver", curve + 5000, ras_to_view) is not None
    )  # of which no voxel is seen
    assert not whole(editing_tools.scissors(label_map, "liver", curve + 5000, ras_to_view), liver.shape).any()
    assert editing_tools.scissors(label_map, "liver", curve[:1], ras_to_view) is None


def test_an_island_is_connected_by_faces(phantom):
    label_map = phantom.labels()
    label_map.array[2:4, 2:4, 2:4] = label_map.array[4, 4, 4] = SPLEEN  # touch at a corner only
    pieces = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray((label_map.array == SPLEEN).astype(np.uint8)))
    )
    for at in ((3, 3, 3), (4, 4, 4), (20, 24, 43)):
        found = whole(editing_tools.island(label_map, "spleen", phantom.ras(*at)), pieces.shape)
        np.testing.assert_array_equal(found, pieces == pieces[at])
    assert editing_tools.island(label_map, "spleen", phantom.ras(20, 22, 20)) is None  # liver
    assert editing_tools.island(label_map, "spleen", (9000.0, 0.0, 0.0)) is None


def test_an_edit_gives_or_takes_within_the_grey_values_and_is_undone(phantom):
    correction = Correction(phantom.labels(), phantom.volume)
    before, image = correction.label_map.array.copy(), phantom.volume.array
    box = (slice(10, 30), slice(15, 30), slice(25, 45))
    inside = whole((box, np.ones((20, 15, 20), bool)), before.shape)

    entry = correction.edit("liver", box, inside[box], True)
    expected = np.where(inside, LIVER, before)
    np.testing.assert_array_equal(correction.label_map.array, expected)
    gained = (inside & (before != LIVER)).sum() * correction.label_map.voxel_ml
    assert entry.changes_ml["liver"] == pytest.approx((gained, 0))
    assert entry.changes_ml["spleen"][1] > 0
    correction.undo()
    np.testing.assert_array_equal(correction.label_map.array, before)

    correction.edit("liver", box, inside[box], False, greys=(50, 70))
    taken = inside & (before == LIVER) & (image >= 50) & (image <= 70)
    assert 0 < taken.sum() < (inside & (before == LIVER)).sum()
    np.testing.assert_array_equal(correction.label_map.array, np.where(taken, 0, before))
    assert correction.edit("kidney_right", box, inside[box], False) is None
