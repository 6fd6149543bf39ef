"""Enhance a CT, then segment it: the labels come back on the CT's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.volume import Volume, volume_digest
from ..models import Model, ModelCard
from ..segmentation import Result, segment
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .changes import changes
from .enhancement import enhance_volume


@checks_arguments
def segment_enhanced(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    enhance: str,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    **options: Any,
) -> Result:
    """Enhance a CT and segment what comes of it.

    What the enhancement changed is checked with the structures found; what speaks against it is among the warnings.

    Args:
        volume: CT in HU; it stays as it is.
        model, device, progress, cancel, options: as for :func:`DeepSegLogic.segmentation.segment`.
        enhance: a task of :func:`DeepSegLogic.enhance.enhancement.enhance_volume`; empty to segment the CT itself.

    Returns:
        the result on the grid of ``volume``, with the enhanced volume in ``enhanced``.

    Raises:
        UsageError, InputError, ModelError, ResourceError, Cancelled: as both of them.

    Example:
        >>> from DeepSegLogic import read_volume, segment_enhanced
        >>> ct = read_volume("ct.nrrd")
        >>> result = segment_enhanced(ct, "ct_demo", "denoise", structures=["lung_left"], device="cpu")
        >>> result.label_map.shape_kji == ct.shape_kji, result.enhanced.name
        (True, 'ct denoised')
    """
    progress, cancel = progress or ignore_progress, cancel or never_cancel
    if not enhance:
        return segment(volume, model, device=device, progress=progress, cancel=cancel, **options)
    enhanced = enhance_volume(volume, enhance, device=device, progress=progress, cancel=cancel)
    roi = options.get("roi")
    if roi is not None and np.ndim(roi) > 1:
        options["roi"] = enhanced.spread(roi)
    result = segment(enhanced.volume, model, device=device, progress=progress, cancel=cancel, **options)
    label_map = result.label_map
    label_map.array, label_map.ijk_to_ras = enhanced.gathered(label_map.array), volume.ijk_to_ras.copy()
    if result.uncertainty is not None:
        result.uncertainty = enhanced.gathered(result.uncertainty)
    if result.probabilities is not None:
        result.probabilities.volume_digest = volume_digest(volume)
    result.provenance["settings"]["enhanced"] = enhanced.how
    result.warnings += changes(volume, enhanced, label_map).warnings
    result.enhanced = enhanced.volume
    return result
