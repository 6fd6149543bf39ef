"""Training a network for :func:`~DeepSegLogic.enhance.enhancement.enhance_volume` on CTs of one's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..data.volume import Volume
from ..util.errors import InputError, UsageError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .enhancement import check_ct
from .network import Cleaner, save_cleaner
from .packages import need_packages
from .samples import PAIRS, PATCH, Planes, planes_of


def train_cleaner(
    task: str,
    good: Sequence[Volume],
    worse: Sequence[Volume] = (),
    *,
    output: Path,
    minutes: float,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Cleaner:
    """Train a network and write it to a file, which holds weights and numbers only.

    The last slices of each CT are not learnt from: they are made worse, and the network is tested on them.
    ``facts["test_error_hu"]`` is their mean absolute error before and after.

    Args:
        task: ``"denoise"`` or ``"slices"``.
        good: CTs with low noise or, for ``"slices"``, any CTs: their axial slices are what thin slices look like.
        worse: CTs of other patients with much noise or thick slices. With them, a CycleGAN learns without pairs;
            without them, a U-Net learns from pairs: the good CTs and copies of them that are made worse.
        output: the file, replaced at the end.
        minutes: to train.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: a task that no network does, or no CT.
        InputError: a volume is no CT, or its slices are smaller than a patch.
        ResourceError: a package is missing.
        ModelError: the training diverged, or what learnt from pairs makes test slices worse. Nothing was written.
        OutputError: the file cannot be written.
        Cancelled: ``cancel`` returned True; nothing was written.
    """
    check_trainable(task)
    if not good:
        raise UsageError("There is no CT to learn from.", "Give one CT at least.", code="usage.cases")
    if not (math.isfinite(minutes) and minutes > 0):
        raise UsageError(
            f"A training cannot take {minutes} minutes.", "Choose a number above 0.", code="usage.duration"
        )
    need_packages()
    first, second = ([_planes(volume) for volume in volumes] for volumes in (good, worse))
    from ..inference.device import choose_device
    from .trial import errors_of, must_help, parted

    place = choose_device(device)
    first, apart = parted(first)
    if worse:
        from .cycle_gan import learn_unpaired

        cleaner = learn_unpaired(task, first, second, minutes, place, progress, cancel)
    else:
        from .paired import learn_pairs

        cleaner = learn_pairs(task, first, minutes, place, progress, cancel)
    cleaner.network.half().float()  # as the file will hold it
    before, after = errors_of(cleaner, apart, place)
    if not worse:  # a CycleGAN does not learn to undo what is done to these
        must_help(before, after)
    cleaner.facts["test_error_hu"] = [round(before, 3), round(after, 3)]
    save_cleaner(cleaner, output)
    return cleaner


def _planes(volume: Volume) -> Planes:
    check_ct(volume)
    planes = planes_of(volume)
    if min(planes.array.shape[1:]) < PATCH // 2:
        size = "×".join(str(n) for n in volume.shape_ijk)
        raise InputError(
            f"{volume.name} is too small to learn from: {size} voxels.",
            f"Choose CTs whose slices have {PATCH // 2} pixels or more along each side.",
            code="input.size",
        )
    return planes


def check_trainable(task: str) -> None:
    """Raise :class:`UsageError` if no network does this."""
    if task not in PAIRS:
        raise UsageError(
            f"No network is trained for {task!r}.", f"Choose one of {', '.join(PAIRS)}.", code="usage.enhance"
        )
