"""From a volume and a model to a label map: the call that every face of DeepSeg makes."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError, ModelError
from .labels import LabelMap, unknown_structure
from .models import Model, ModelCard, find_model, load_model
from .progress import Cancel, Progress, check, ignore_progress, never_cancel
from .terminology import structure_for
from .volume import Volume

if TYPE_CHECKING:
    from .inference.confidence import TopProbabilities


@dataclass
class Result:
    """What a segmentation run gives.

    Attributes:
        label_map: the structures asked for, on the volume's own grid.
        confidence: mean probability of each structure found, 0 to 1.
        warnings: one sentence each.
        timings: seconds by stage.
        provenance: model, settings, device and versions.
        probabilities: of the most probable labels, when they were asked for.
    """

    label_map: LabelMap
    confidence: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    probabilities: TopProbabilities | None = None


def segment(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
    force: bool = False,
    keep_probabilities: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Segment a volume.

    Args:
        volume: CT in HU (or what the model was trained on).
        model: an id, a model folder, a card, or a loaded model (which saves loading it again).
        structures: names of those wanted; None for all.
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.
        quality: ``"fast"``, ``"standard"`` or ``"best"``, see :mod:`DeepSegLogic.inference.quality`.
        force: go on with a volume that does not look like what the model was trained on.
        keep_probabilities: keep what corrections need later.
        progress, cancel: see :mod:`DeepSegLogic.progress`.

    Raises:
        UsageError: an unknown structure, quality or device.
        InputError: a volume that the model cannot use.
        ModelError: no such model, or a broken one.
        ResourceError: memory or the device does not suffice.
        Cancelled: ``cancel`` said so.
    """
    from .inference.device import choose_device
    from .inference.engine import Engine
    from .inference.memory import estimate_run
    from .inference.preprocessing import network_view, prepare
    from .inference.quality import quality as quality_named

    progress, cancel = progress or ignore_progress, cancel or never_cancel
    clock = _Clock()
    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, progress)
    wanted = _wanted(structures, model)
    clock.lap("load model")
    check(cancel)
    warnings = [*volume.warnings, *check_volume(volume, model.card, force)]
    if model.plan.orientation is None:
        warnings.append(
            f"The model {model.card.id} does not say how its training images were oriented; the volume is used as "
            f"it lies ({volume.orientation}). State the orientation in a card.json if results look wrong."
        )

    progress("preprocess", 0.0, "resampling")
    estimate = estimate_run(volume, model.networks, model.plan, chosen_quality, chosen_device)
    prepared = prepare(volume, model.plan, chosen_device, chosen_quality.trim_to_body)
    progress("preprocess", 1.0, "resampling")
    clock.lap("preprocess")
    check(cancel)

    engine = Engine(
        model.networks,
        model.plan,
        estimate.settings,
        step=chosen_quality.step,
        mirror=chosen_quality.mirror,
        keep_probabilities=keep_probabilities,
    )
    prediction = engine.run(prepared, progress, cancel)
    progress("inference", 1.0, "done")
    clock.lap("inference")

    labels = np.zeros(volume.shape, prediction.labels.dtype)
    network_view(labels, volume.ijk_to_ras, model.plan)[0][prepared.crop] = prediction.labels
    _keep_only(labels, wanted)
    label_map = LabelMap(labels, volume.ijk_to_ras.copy(), [structure_for(n, v) for v, n in wanted.items()])
    confidence = {n: c for n, c in prediction.meter.confidence().items() if n in wanted.values()}
    top = prediction.meter.top()
    if top is not None:
        top.volume_digest = volume_digest(volume)
    clock.lap("finish")
    settings = {"structures": list(wanted.values()), "quality": quality, "device": str(chosen_device)}
    return Result(
        label_map,
        confidence,
        warnings + prediction.warnings,
        clock.laps,
        _provenance(model, settings, engine.settings.describe()),
        top,
    )


def check_volume(volume: Volume, card: ModelCard, force: bool) -> list[str]:
    """Whether a volume can be what the model was trained on; warnings where it is doubtful.

    Raises:
        InputError: it cannot, and ``force`` is not given.
    """
    from .volume_checks import ct_doubts, reject_unusable

    reject_unusable(volume)
    if card.modality != "CT":
        return []
    reasons, doubts = ct_doubts(volume)
    if reasons and not force:
        raise InputError(
            f"{volume.name} does not look like a CT in HU: {' '.join(reasons)}",
            f"The model {card.id} was trained on CT. Choose a CT, or go on with --force if you are sure.",
            code="input.modality",
        )
    return reasons + doubts


def volume_digest(volume: Volume) -> str:
    """SHA-256 of a volume's voxels and geometry, to tell whether kept data belong to it."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).data)
    digest.update(np.ascontiguousarray(volume.ijk_to_ras, np.float64).data)
    return f"sha256:{digest.hexdigest()}"


def _loaded(model, progress: Progress) -> Model:
    if isinstance(model, Model):
        return model
    progress("load model", 0.0, "loading")
    card = model if isinstance(model, ModelCard) else find_model(model)
    loaded = load_model(card)
    progress("load model", 1.0, "loading")
    return loaded


def _wanted(structures: list[str] | None, model: Model) -> dict[int, str]:
    """Names by label value of the structures asked for."""
    labels = model.plan.labels
    if not labels:
        raise ModelError(f"The model {model.card.id} names no structures.", "Install it again.", code="model.plan")
    if structures is None:
        return dict(sorted(labels.items()))
    known = list(labels.values())
    for name in structures:
        if name not in known:
            raise unknown_structure(name, known)
    return {v: n for v, n in sorted(labels.items()) if n in structures}


def _keep_only(labels: np.ndarray, wanted: dict[int, str]) -> None:
    keep = np.zeros(np.iinfo(labels.dtype).max + 1, labels.dtype)
    for value in wanted:
        keep[value] = value
    labels[...] = keep[labels]


def _provenance(model: Model, settings: dict, run: str) -> dict:
    import torch

    from . import __version__
    from .models.nnunet import weights_digest

    card = model.card
    facts = {
        "id": card.id,
        "version": card.version,
        "licence": card.licence,
        "digest": weights_digest(card.folder),
    }
    versions = {"deepseg": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"model": facts, "settings": settings, "run": run, "versions": versions}


class _Clock:
    """Seconds between laps."""

    def __init__(self):
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = round(now - self._last, 3)
        self._last = now
