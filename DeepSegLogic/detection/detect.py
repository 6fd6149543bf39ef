"""Detection: from a volume and a model to boxes in mm. Panel, page and command line all call this."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from ..data.affine import ijk_to_ras_points
from ..data.run_record import RunChoices
from ..data.types import Shape
from ..data.volume import Volume
from ..inference.device import choose_device, is_out_of_memory, lay_out, precision, reproducible
from ..inference.preprocessing import Prepared, prepare
from ..inference.sliding_window import window_starts
from ..models import Model, ModelCard, find_model
from ..models.input_checks import check_volume
from ..models.provenance import provenance
from ..util.errors import ResourceError, UsageError
from ..util.given import checks_arguments
from ..util.packages import lacks_extra
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .detector import Detector, WindowBoxes, load_detector
from .finding import BoxFinding, BoxFindings
from .masks import label_masks

LEAST_SCORE = 0.1
"""Findings with less are noise of any model."""
MOST_FINDINGS = 500
OVERLAP = 0.22
"""Intersection over union above which two boxes are one finding, as MONAI's bundle has it."""
_STEP = 0.75  # distance of windows, as a share of the window
_ON_CPU = 192 * 192 * 96  # voxels of a window: a few GB of features
_SMALLEST = 64  # voxels along an edge of a window


@checks_arguments
def detect(
    volume: Volume,
    model: str | Path | ModelCard | Detector,
    *,
    min_score: float = LEAST_SCORE,
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> BoxFindings:
    """Find lesions in a volume, as boxes.

    The volume is brought to the model's grid and searched in windows that overlap. A window counts for the boxes that
    are centred in its inner part; boxes of several windows that overlap by more than 0.22 (intersection over union) are
    one finding, that with the highest score. At most :data:`MOST_FINDINGS` are kept, those with the highest scores.

    Args:
        volume: CT in HU (or what the model was trained on).
        model: an id, a model folder, a card, or a loaded detector.
        min_score: of a finding, above 0, up to 1.
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.
        force: search a volume even if it does not look like what the model was trained on.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: a score outside of its range, an unknown device, or MONAI is not installed.
        InputError: the model cannot use the volume.
        ModelError: there is no such model, it finds no boxes, or it is broken or not trusted.
        ResourceError: out of memory, or the device is missing.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import detect, read_volume
        >>> found = detect(read_volume("ct.nrrd"), "lung_nodule_ct_detection")  # doctest: +SKIP
    """
    check_score(min_score)
    require_detection()
    progress, cancel = progress or ignore_progress, cancel or never_cancel
    chosen = choose_device(device)
    if not isinstance(model, Detector):
        card = model if isinstance(model, ModelCard) else find_model(model)
        warnings = check_volume(volume, card, force)
        progress("load model", 0.0, card.title)
        model = load_detector(card)
    else:
        warnings = check_volume(volume, model.card, force)
    check(cancel)
    progress("preprocess", 0.0, volume.name)
    try:
        prepared = prepare(volume, model.plan, chosen)
        progress("preprocess", 1.0, volume.name)
        lay_out(model.network, chosen)
        found, size = _search(prepared.image, model, min_score, chosen, progress, cancel)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "Out of memory while searching for lesions, even with small windows.",
            "Close other programs, or use the CPU.",
            code="resource.memory",
            action="choose_device",
            device="cpu",
        ) from error
    merged = _cut(suppressed(joined(found)), prepared)
    count = len(merged.boxes)
    merged = merged.at(torch.arange(min(count, MOST_FINDINGS)))
    findings, masks = _in_mm(merged, prepared, model), None
    if merged.masks is not None and merged.mask_boxes is not None:
        drawn, placed = merged.masks.double().numpy(), merged.mask_boxes.double().numpy()
        masks, findings = label_masks(drawn, placed, findings, prepared.grid.grid_to_ras, volume, cancel)
    warnings = [*volume.warnings, *warnings]
    if count > MOST_FINDINGS:
        warnings.append(
            f"The model finds {count} boxes; the {MOST_FINDINGS} with the highest scores are kept. "
            "So many are rarely lesions: check that the volume is what the model is for."
        )
    settings: RunChoices = {"device": str(chosen), "quality": "standard"}
    run = f"detection in windows of {' × '.join(map(str, size))} voxels, score of at least {min_score:g}"
    record = provenance(Model(model.card, model.plan, []), settings, run)
    return BoxFindings(findings, list(dict.fromkeys(warnings)), record, masks)


def check_score(min_score: float) -> None:
    """Raise :class:`UsageError` if no finding can have such a score."""
    if not 0 < min_score <= 1:
        raise UsageError(f"A score of {min_score:g} is not above 0 and up to 1.", "Give such a score.")


def require_detection() -> None:
    """Check that what detection needs is installed.

    Raises:
        UsageError: MONAI is not.
    """
    try:
        import monai  # noqa: F401
    except ImportError as error:
        raise lacks_extra(
            UsageError, "Detection needs MONAI, which is not installed.", "detection", code="usage.detection"
        ) from error


def _search(
    image: torch.Tensor, model: Detector, min_score: float, device: torch.device, progress: Progress, cancel: Cancel
) -> tuple[list[WindowBoxes], Shape]:
    """The boxes of all windows, as indices of the image, and the size of a window; smaller ones if memory is short."""
    size = _window_size(image.shape[1:], model, _ON_CPU if device.type == "cpu" else None)
    while True:
        try:
            return _in_windows(image, size, model, min_score, device, progress, cancel), size
        except (RuntimeError, MemoryError) as error:
            smaller = _halved(size, model.divisor)
            if not is_out_of_memory(error) or smaller == size:
                raise
            size = smaller


@reproducible()
@torch.inference_mode()
def _in_windows(
    image: torch.Tensor,
    size: Shape,
    model: Detector,
    min_score: float,
    device: torch.device,
    progress: Progress,
    cancel: Cancel,
) -> list[WindowBoxes]:
    missing = [max(0, s - n) for s, n in zip(size, image.shape[1:], strict=True)]
    sides = [side for m in reversed(missing) for side in (0, m)]
    padded = torch.nn.functional.pad(image, sides, value=model.plan.padding.value)
    axes = [_owned(n, s) for n, s in zip(padded.shape[1:], size, strict=True)]
    windows, found = list(itertools.product(*axes)), []
    half = precision(device)
    for number, window in enumerate(windows):
        check(cancel)
        progress("inference", number / len(windows), f"window {number + 1} of {len(windows)}")
        start = [w[0] for w in window]
        part = padded[(slice(None), *(slice(a, a + s) for a, s in zip(start, size, strict=True)))][None].to(device)
        with torch.autocast(device.type, half) if half == torch.float16 else nullcontext():
            here = model.find(part, min_score).each(torch.Tensor.cpu).moved(start)
        center = (here.boxes[:, :3] + here.boxes[:, 3:]) / 2
        inner = torch.tensor([w[1:] for w in window])
        own = ((center >= inner[:, 0]) & (center < inner[:, 1])).all(1)
        found.append(here.at(own & here.boxes.isfinite().all(1) & here.scores.isfinite()))
    progress("inference", 1.0, "")
    return found


def _owned(length: int, size: int) -> list[tuple[int, float, float]]:
    """The windows along an axis: start, and from where to where centres of boxes count.

    Neighbours share a quarter of their overlap on each side, so that a lesion between them is not lost.
    """
    starts = window_starts(length, size, _STEP)
    windows = []
    for n, start in enumerate(starts):
        low = -math.inf if n == 0 else start + (starts[n - 1] + size - start) / 4
        high = math.inf if n == len(starts) - 1 else starts[n + 1] + 3 * (start + size - starts[n + 1]) / 4
        windows.append((start, low, high))
    return windows


def _window_size(shape: Sequence[int], model: Detector, most: int | None) -> Shape:
    """The plan's window, no larger than the image, in multiples of the divisor, with at most so many voxels."""
    fits = [-(-n // d) * d for n, d in zip(shape, model.divisor, strict=True)]
    z, y, x = (min(p, f) for p, f in zip(model.plan.patch_size, fits, strict=True))
    size: Shape = (z, y, x)
    while most is not None and math.prod(size) > most and (smaller := _halved(size, model.divisor)) != size:
        size = smaller
    return size


def _halved(size: Shape, divisor: Shape) -> Shape:
    """A window with its longest edge halved; the same if that is short already."""
    axis = int(np.argmax(size))
    if size[axis] <= max(_SMALLEST, divisor[axis]):
        return size
    edges = list(size)
    edges[axis] = -(-(size[axis] // 2) // divisor[axis]) * divisor[axis]
    return edges[0], edges[1], edges[2]


def joined(found: Sequence[WindowBoxes]) -> WindowBoxes:
    """The boxes of several windows in one list."""
    masks = [one.masks for one in found if one.masks is not None]
    mask_boxes = [one.mask_boxes for one in found if one.mask_boxes is not None]
    return WindowBoxes(
        torch.cat([one.boxes for one in found]),
        torch.cat([one.scores for one in found]),
        torch.cat([one.kinds for one in found]),
        torch.cat(masks) if masks else None,
        torch.cat(mask_boxes) if mask_boxes else None,
    )


def suppressed(found: WindowBoxes) -> WindowBoxes:
    """One box for each finding, best first: MONAI's non-maximum suppression, kind by kind."""
    from monai.data.box_utils import batched_nms

    return found.at(torch.as_tensor(batched_nms(found.boxes, found.scores, found.kinds, OVERLAP)))


def _cut(found: WindowBoxes, prepared: Prepared) -> WindowBoxes:
    """Boxes on the network's grid, cut to the image; those outside are gone."""
    ends = torch.tensor(prepared.image.shape[1:]) - 0.5
    low, high = found.boxes[:, :3].clamp(min=-0.5), torch.minimum(found.boxes[:, 3:], ends)
    return found._replace(boxes=torch.cat([low, high], 1)).at((high > low).all(1))


def _in_mm(found: WindowBoxes, prepared: Prepared, model: Detector) -> list[BoxFinding]:
    """Boxes on the network's grid as findings; of an oblique volume the boxes around them."""
    boxes, scores, kinds = (t.double().numpy() for t in (found.boxes, found.scores, found.kinds))
    low, high = boxes[:, :3], boxes[:, 3:]
    choices = itertools.product((False, True), repeat=3)
    points = np.stack([np.where(choice, high, low)[:, ::-1] for choice in choices])  # (8, N, 3) along X, Y, Z
    placed = ijk_to_ras_points(points.reshape(-1, 3), prepared.grid.grid_to_ras).reshape(points.shape)
    return [
        BoxFinding(model.plan.labels[int(kind)], float(score), (r, a, s), (r2, a2, s2))
        for kind, score, (r, a, s), (r2, a2, s2) in zip(
            kinds, scores, placed.min(0).tolist(), placed.max(0).tolist(), strict=True
        )
    ]
