"""The coarse copy: a linear image stays what it is, on any grid."""

import numpy as np
import pytest

from DeepSegLogic import Volume
from DeepSegLogic.classify.coarse import SIZE, STEP_MM, coarse_copy, thinned

SLOPE = np.array([0.5, -0.7, 1.1])  # HU per mm along R, A, S


def ramp(shape_kji, matrix):
    """An image whose values are a linear function of the place."""
    k, j, i = np.meshgrid(*map(np.arange, shape_kji), indexing="ij")
    ras = np.einsum("ab,bkji->akji", matrix, np.stack([i, j, k, np.ones_like(i)]).astype(float))[:3]
    return Volume(np.einsum("a,akji->kji", SLOPE, ras).astype(np.float32), matrix)


def turned(spacing, degrees, flips=(1, 1, 1)):
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(np.array(spacing) * flips)
    return matrix


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((60, 90, 80), turned((3, 3, 3), 0)),
        ((200, 210, 220), turned((0.9, 1.1, 1.3), 0, (-1, -1, 1))),
        ((30, 120, 100), turned((2, 2, 7), 12, (1, -1, 1))),
        ((9, 60, 70), turned((4, 4, 16), 0, (1, 1, -1))),
    ],
)
def test_a_linear_image_stays_what_it_is(shape, matrix):
    found = coarse_copy(ramp(shape, matrix))
    volume = ramp(shape, matrix)
    k, j, i = np.meshgrid(*map(np.arange, found.array.shape), indexing="ij")
    inside = found.array > -999  # outside of the volume is air
    s = found.bottom_mm + STEP_MM * k
    values = found.array - SLOPE[2] * s
    # What is left is linear along A and R: its constant is fitted, its slopes must be those of the image.
    middle = np.median((values - STEP_MM * (SLOPE[1] * j + SLOPE[0] * i))[inside])
    error = np.abs(values - STEP_MM * (SLOPE[1] * j + SLOPE[0] * i) - middle)[inside]
    near_border = STEP_MM * np.abs(SLOPE).sum()
    assert inside.sum() > 500 and np.percentile(error, 60) < 0.2 and error.max() < near_border
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.shape_ijk], [1.0])).reshape(4, -1)
    assert found.size_mm == pytest.approx(np.ptp((matrix @ corners)[:3], axis=1), abs=5)


def test_the_body_is_in_the_middle_and_the_order_of_axes_does_not_matter():
    array = np.full((40, 100, 120), -1000, np.int16)
    array[:, 10:40, 70:110] = 40
    straight = coarse_copy(Volume(array, np.diag([4.0, 4.0, 4.0, 1.0])))
    swapped = np.ascontiguousarray(array.transpose(1, 2, 0)[:, ::-1])
    matrix = np.array([[0, -4.0, 0, 4 * 119], [0, 0, 4.0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    matrix = matrix[[0, 2, 1, 3]] @ np.eye(4)  # I is S, J is -R, K is A
    matrix = np.array([[0, -4.0, 0, 4 * 119], [0, 0, 4.0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    other = coarse_copy(Volume(swapped, matrix))
    assert np.allclose(straight.array, other.array, atol=1)
    rows, columns = (np.nonzero((straight.array > 0).any(axes))[0] for axes in ((0, 2), (0, 1)))
    assert abs(rows.mean() - (SIZE - 1) / 2) < 1 and abs(columns.mean() - (SIZE - 1) / 2) < 1
    assert 8 * len(columns) == pytest.approx(160, abs=9) and 8 * len(rows) == pytest.approx(120, abs=9)


def test_thinning_twice_is_thinning_once():
    volume = Volume(np.arange(60 * 50 * 40, dtype=np.int16).reshape(60, 50, 40), np.diag([0.6, 0.9, 1.4, 1.0]))
    once = thinned(volume)
    assert once.spacing_ijk.max() <= 2.5 and once.array.size < volume.array.size / 5
    assert thinned(once) == once
    assert np.array_equal(coarse_copy(volume).array, coarse_copy(once).array)


def test_a_slice_and_a_very_long_volume():
    assert coarse_copy(Volume(np.zeros((1, 64, 64), np.int16), np.eye(4))).array.shape == (1, SIZE, SIZE)
    assert len(coarse_copy(Volume(np.zeros((50, 8, 8), np.int16), np.diag([1.0, 1, 300, 1]))).array) == 320
