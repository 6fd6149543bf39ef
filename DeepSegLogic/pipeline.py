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
    from .inference.memory import RunEstimate
    from .inference.probabilities import TopProbabilities


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
    from .inference.parts import joined_top
    from .inference.quality import quality as quality_named

    progress, cancel = progress or ignore_progress, cancel or never_cancel
    clock = _Clock()
    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, progress)
    wanted = _wanted(structures, model)
    clock.lap("load model")
    check(cancel)
    warnings = [*volume.warnings, *check_volume(volume, model.card, force)]

    run = _Run(volume, model, wanted, chosen_quality, chosen_device, keep_probabilities, clock)
    run.all_parts(progress, cancel)
    progress("inference", 1.0, "done")

    label_map = LabelMap(run.labels, volume.ijk_to_ras.copy(), [structure_for(n, v) for v, n in wanted.items()])
    top = joined_top(run.tops) if run.tops else None
    if top is not None:
        top.volume_digest = volume_digest(volume)
    clock.lap("finish")
    settings = {"structures": list(wanted.values()), "quality": quality, "device": str(chosen_device)}
    return Result(
        label_map,
        run.confidence,
        list(dict.fromkeys(warnings + run.warnings)),
        clock.laps,
        _provenance(model, settings, run.described),
        top,
    )


class _Run:
    """The networks of a model over one volume, one after the other; later ones win where two mark a voxel."""

    def __init__(self, volume, model: Model, wanted: dict[int, str], quality, device, keep_probabilities, clock):
        from .inference.parts import SharedInput

        self.volume, self.model, self.wanted, self.quality, self.device = volume, model, wanted, quality, device
        self.keep_probabilities, self.clock = keep_probabilities, clock
        dtype = np.uint8 if max(model.labels, default=0) < 256 else np.uint16
        self.labels = np.zeros(volume.shape, dtype)
        self.confidence: dict[str, float] = {}
        self.warnings: list[str] = []
        self.tops: list[TopProbabilities] = []
        self.described = ""
        self._shared = SharedInput(volume, device, quality.trim_to_body)

    def all_parts(self, progress: Progress, cancel: Cancel) -> None:
        names = set(self.wanted.values())
        cards = self.model.cards_for(names)
        for number, card in enumerate(cards):
            check(cancel)
            self._one(self.model.part(card), _share(progress, number, len(cards), card.id), cancel)

    def _one(self, part: Model, progress: Progress, cancel: Cancel) -> None:
        from .inference.engine import Engine
        from .inference.memory import estimate_run
        from .inference.parts import renamed_top
        from .inference.preprocessing import network_view, prepare

        self.clock.lap("load model")
        plan = part.plan
        if plan.orientation is None:
            self.warnings.append(
                f"The model {part.card.id} does not say how its training images were oriented; the volume is used as "
                f"it lies ({self.volume.orientation}). State the orientation in a card.json if results look wrong."
            )
        progress("preprocess", 0.0, "resampling")
        estimate = estimate_run(self.volume, part.networks, plan, self.quality, self.device)
        if part is self.model:
            prepared = prepare(self.volume, plan, self.device, self.quality.trim_to_body)
        else:
            prepared = self._shared.prepared_for(plan)
        progress("preprocess", 1.0, "resampling")
        self.clock.lap("preprocess")
        check(cancel)

        engine = Engine(
            part.networks,
            plan,
            estimate.settings,
            step=self.quality.step,
            mirror=self.quality.mirror,
            keep_probabilities=self.keep_probabilities,
        )
        prediction = engine.run(prepared, progress, cancel)
        self.clock.lap("inference")
        self.warnings += prediction.warnings
        self.described = engine.settings.describe()

        values = self._values_of(plan.labels)
        marked = np.where(np.isin(values, list(self.wanted)), values, 0)[prediction.labels]
        box = network_view(self.labels, self.volume.ijk_to_ras, plan)[0][prepared.crop]
        np.copyto(box, marked, where=marked > 0)
        named = prediction.meter.confidence().items()
        self.confidence |= {n: c for n, c in named if n in self.wanted.values()}
        top = prediction.meter.top()
        if top is not None:
            self.tops.append(renamed_top(top, values))

    def _values_of(self, labels: dict[int, str]) -> np.ndarray:
        """The model's label value by a part's."""
        by_name = {n: v for v, n in self.model.labels.items()}
        values = np.zeros(max(labels) + 1, self.labels.dtype)
        for value, name in labels.items():
            values[value] = by_name[name]
        return values


def _share(progress: Progress, number: int, count: int, name: str) -> Progress:
    """Progress of one part as a share of all."""
    if count == 1:
        return progress
    return lambda stage, fraction, message: progress(stage, (number + fraction) / count, f"{name}: {message}")


def estimate(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
) -> RunEstimate:
    """What :func:`segment` with the same arguments would need; of several networks the sum of the times, and
    the largest memory.

    Raises:
        UsageError, ModelError, ResourceError: as :func:`segment`.
    """
    from .inference.device import choose_device
    from .inference.memory import estimate_run, joined_estimates
    from .inference.quality import quality as quality_named

    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, ignore_progress)
    names = set(_wanted(structures, model).values())
    return joined_estimates(
        [
            estimate_run(volume, part.networks, part.plan, chosen_quality, chosen_device)
            for part in map(model.part, model.cards_for(names))
        ]
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
    labels = model.labels
    if not labels:
        raise ModelError(f"The model {model.card.id} names no structures.", "Install it again.", code="model.plan")
    if structures is None:
        return dict(sorted(labels.items()))
    known = list(labels.values())
    for name in structures:
        if name not in known:
            raise unknown_structure(name, known)
    return {v: n for v, n in sorted(labels.items()) if n in structures}


def _provenance(model: Model, settings: dict, run: str) -> dict:
    import torch

    from . import __version__
    from .models.digests import folder_digests, model_digest
    from .models.nnunet import weights_digest

    card = model.card
    if card.backend == "nnunet" and not card.digests:
        digest = weights_digest(card.folder)  # a training's folder also holds images
    else:
        digest = model_digest(card.digests or folder_digests(card.folder))
    facts = {
        "id": card.id,
        "version": card.version,
        "licence": card.licence,
        "digest": digest,
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
        self.laps[stage] = round(self.laps.get(stage, 0.0) + now - self._last, 3)
        self._last = now
