"""Labels by tiles equal those of interpolating every class everywhere."""

import numpy as np
import pytest
import torch

from DeepSegLogic.inference.argmax_resampling import Interpolator
from DeepSegLogic.inference.resampling import axis_matrices
from DeepSegLogic.models.plan import Resampling


def smooth_logits(channels, shape, seed=0):
    """Logits with regions, borders and corners where many classes meet."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((1, channels, *(max(2, s // 5) for s in shape)), generator=generator)
    return torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0] * 3


def label_in_rows(interpolator, logits, rows_at_once):
    """Feed rows as the engine does: a few at a time, classes last, letting go what is not needed any more."""
    logits = logits.movedim(0, -1).contiguous()
    out = torch.zeros(interpolator.native_shape, dtype=torch.uint8)
    written, base = 0, 0
    for final in [*range(rows_at_once, len(logits), rows_at_once), len(logits)]:
        ready = interpolator.ready_rows(final)
        interpolator.label(logits[base:final], base, range(written, ready), out)
        written = ready
        base = min(interpolator.first_row_needed(ready), final)
    assert written == out.shape[0]
    return out


@pytest.mark.parametrize("native", [(45, 33, 52), (11, 30, 12), (20, 24, 30)])
@pytest.mark.parametrize("tile", [4, 16])
def test_equals_dense_interpolation(native, tile):
    shape = (20, 24, 30)
    logits = smooth_logits(9, shape)
    back = axis_matrices(Resampling(kind="torch"), shape, native, (1, 1, 1), (1, 1, 1))
    ours = label_in_rows(Interpolator(shape, native, back, tile), logits, 7)
    dense = torch.nn.functional.interpolate(logits[None].double(), native, mode="trilinear")[0]
    best = dense.topk(2, 0)
    clear = best.values[0] - best.values[1] > 1e-5  # ties are anybody's
    assert clear.float().mean() > 0.999
    torch.testing.assert_close(ours.long()[clear], best.indices[0][clear])


def test_regions_are_written_in_order():
    shape, native = (12, 14, 16), (30, 20, 16)
    logits = smooth_logits(3, shape, seed=1)
    back = axis_matrices(Resampling(kind="torch"), shape, native, (1, 1, 1), (1, 1, 1))
    ours = label_in_rows(Interpolator(shape, native, back, 8, regions=(2, 1, 5)), logits, 5)
    dense = torch.nn.functional.interpolate(logits[None], native, mode="trilinear")[0].sigmoid().numpy()
    expected = np.zeros(native, np.uint8)
    for probability, value in zip(dense, (2, 1, 5), strict=True):
        expected[probability > 0.5] = value
    assert (ours.numpy() != expected).mean() < 1e-4


def test_cubic_logits_are_not_short_cut():
    """Splines overshoot, so a class may win between voxels at which it is nowhere the largest."""
    shape, native = (10, 12, 14), (25, 30, 35)
    logits = smooth_logits(5, shape, seed=2)
    back = axis_matrices(Resampling(order=3), shape, native, (1, 1, 1), (1, 1, 1))
    ours = label_in_rows(Interpolator(shape, native, back, 4), logits, 3)
    dense = logits
    for axis, matrix in enumerate(back):
        dense = torch.movedim(torch.tensordot(matrix, dense, ([1], [axis + 1])), 0, axis + 1)
    assert (ours.long() != dense.argmax(0)).float().mean() < 1e-4
