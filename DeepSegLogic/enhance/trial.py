"""The trial of a trained network on test slices, which says whether it is worth a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..util.errors import ModelError
from .network import HU_SCALE, Cleaner, scaled
from .samples import PAIRS, Planes

_TENTH, _LEAST = 10, 3  # of the slices, and slices
_DRAWS, _SEED = 16, 20_26


def parted(cts: Sequence[Planes]) -> tuple[list[Planes], list[Planes]]:
    """CTs without their last slices, to learn from, and those slices, to test on: a tenth, of CTs with thirty slices or
    more. If no CT has as many, all slices are in both."""
    counts = [len(ct.array) // _TENTH if len(ct.array) >= _TENTH * _LEAST else 0 for ct in cts]
    learnt = [replace(ct, array=ct.array[: len(ct.array) - n]) for ct, n in zip(cts, counts, strict=True)]
    apart = [replace(ct, array=ct.array[-n:]) for ct, n in zip(cts, counts, strict=True) if n]
    return learnt, apart or list(cts)


def must_be_finite(loss: float, step: int) -> None:
    """Check a loss, so that a training that diverged ends at once.

    Raises:
        ModelError: it is no number.
    """
    if not math.isfinite(loss):
        raise _diverged(f"the loss is no number at step {step}")


def errors_of(cleaner: Cleaner, cts: Sequence[Planes], device: torch.device) -> tuple[float, float]:
    """The mean absolute error of planes that were made worse, and of what the network makes of them, in HU.

    Args:
        cts: to draw the planes from.

    Raises:
        ModelError: the network gives no numbers.
    """
    rng, reach = np.random.default_rng(_SEED), cleaner.inputs // 2
    sums = np.zeros(2)
    with torch.inference_mode():
        for _ in range(_DRAWS):
            x, y = (scaled(hu.to(device)) for hu in PAIRS[cleaner.task](cts, rng))
            middle = x.shape[1] // 2
            plane, near = x[:, middle : middle + 1], x[:, middle - reach : middle + reach + 1]
            sums += [float((made - y).abs().mean()) for made in (plane, plane + cleaner.network(near))]
    before, after = (HU_SCALE * sums / _DRAWS).tolist()
    if not math.isfinite(after):
        raise _diverged("the network gives no numbers")
    return before, after


def must_help(before: float, after: float) -> None:
    """Check the errors of a network that learnt from pairs.

    Raises:
        ModelError: it makes planes worse than they were.
    """
    if after > before:
        raise _diverged(f"the mean error on test slices is {after:.2f} HU, without the network {before:.2f} HU")


def _diverged(how: str) -> ModelError:
    return ModelError(
        f"The training failed: {how}. Nothing was written.",
        "Train longer, or with more CTs. Check that the CTs have low noise and no other values than HU.",
        code="model.diverged",
    )
