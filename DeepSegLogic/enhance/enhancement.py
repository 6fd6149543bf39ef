"""Enhancing a CT before it is segmented. The enhanced volume stands beside the CT and never replaces it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.records import ArrayRecord
from ..data.types import LabelArray
from ..data.volume import Volume, compact
from ..data.volume_checks import ct_doubts, reject_unusable
from ..util.errors import InputError, UsageError
from ..util.given import checks_arguments
from ..util.i18n import mark as N_
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.resources import resource_path
from .packages import need_packages

TASKS: Mapping[str, str] = {
    "denoise": N_("Reduce noise"),
    "slices": N_("Thinner slices"),
    "metal": N_("Reduce metal streaks"),
}
"""What can be done, by name, and its title, translated where it is shown."""

_ENDINGS = {"denoise": "denoised", "slices": "thin slices", "metal": "fewer streaks"}


@dataclass(eq=False, repr=False)
class Enhanced(ArrayRecord):
    """An enhanced CT.

    Attributes:
        volume: int16 or float32 HU; on the CT's grid, or for ``"slices"`` on one with thinner slices.
        task: one of :data:`TASKS`.
        axis, factor: ``factor`` new slices along this array axis for each slice of the CT; 1 on the CT's grid.
        how: facts for the provenance: the task, and the file name and digest of a network.
    """

    volume: Volume
    task: str
    axis: int = 0
    factor: int = 1
    how: dict[str, str] = field(default_factory=dict)

    def spread(self, array: LabelArray) -> LabelArray:
        """Labels on the CT's grid, on that of the enhanced volume: each slice gets those of the nearest old one."""
        nearest = np.rint(np.arange(self.volume.array.shape[self.axis]) / self.factor).astype(int)
        return array.take(nearest, self.axis)

    def gathered(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What lies on the enhanced volume's grid, on the CT's slices, which it contains."""
        kept = [slice(None)] * 3
        kept[self.axis] = slice(None, None, self.factor)
        return np.ascontiguousarray(array[tuple(kept)])


@checks_arguments
def enhance_volume(
    volume: Volume,
    task: str,
    *,
    network: Path | str | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Enhanced:
    """Enhance a CT.

    Args:
        volume: CT in HU.
        task: ``"denoise"``, ``"slices"`` (thinner ones) or ``"metal"`` (fewer streaks).
        network: a file of ``deepseg enhance-train``, not for ``"metal"``. Without it, ``"denoise"`` uses the bundled
            network, and ``"slices"`` interpolates with cubic splines and makes these agree with the scanned slices.
        device: that runs the network, see :func:`DeepSegLogic.inference.device.choose_device`.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: an unknown task, or a network for one that uses none.
        InputError: the volume is no CT, or there is nothing to enhance: its slices are thin, or it has no metal.
        ModelError: the network cannot be used.
        ResourceError: a package or memory is missing.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import enhance_volume, read_volume
        >>> ct = read_volume("ct.nrrd")
        >>> enhanced = enhance_volume(ct, "denoise", device="cpu")
        >>> enhanced.volume.shape_kji == ct.shape_kji
        True
    """
    check_task(task)
    if network is not None and task == "metal":
        raise UsageError("Metal streaks are reduced without a network.", "Leave the network out.", code="usage.network")
    low, high = check_ct(volume)
    need_packages()
    from ..inference.device import choose_device

    place = choose_device(device)
    check(cancel)
    progress("enhance", 0.0, volume.name)
    how, matrix, axis, factor = {"task": task}, volume.ijk_to_ras, 0, 1
    if task == "metal":
        from .metal import without_streaks

        array = without_streaks(volume, progress, cancel)
    else:
        from .denoising import denoised
        from .grids import slow_axis, thinner_by
        from .network import load_cleaner
        from .slices import with_thin_slices

        path = resource_path("Enhance", "denoise.pth") if network is None and task == "denoise" else network
        cleaner = None
        if path is not None:
            cleaner = load_cleaner(Path(path), task)
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            how |= {"network": Path(path).name, "digest": digest}
        if cleaner is not None and task == "denoise":
            array = denoised(volume, cleaner, place, progress, cancel)
        else:
            axis, factor = slow_axis(volume), thinner_by(volume)
            array, matrix = with_thin_slices(volume, cleaner, place, progress, cancel)
    progress("enhance", 1.0, volume.name)
    values = compact(np.rint(np.clip(array, low, high)))
    name = f"{volume.name} {_ENDINGS[task]}"
    return Enhanced(replace(volume, array=values, ijk_to_ras=matrix.copy(), name=name), task, axis, factor, how)


def check_task(task: str) -> None:
    """Check the name of a task.

    Raises:
        UsageError: there is no such task.
    """
    if task not in TASKS:
        raise UsageError(
            f"{task!r} is no way to enhance a CT.", f"Choose one of {', '.join(TASKS)}.", code="usage.enhance"
        )


def check_ct(volume: Volume) -> tuple[float, float]:
    """The lowest and highest HU of a volume.

    Raises:
        InputError: it is no CT, or nothing can use it.
    """
    greys = reject_unusable(volume)
    reasons, _ = ct_doubts(volume, greys)
    if reasons:
        raise InputError(
            f"{volume.name} does not look like a CT in HU. {' '.join(reasons)}",
            "Only CT can be enhanced. Choose a CT, or segment the volume as it is.",
            code="input.modality",
        )
    return greys
