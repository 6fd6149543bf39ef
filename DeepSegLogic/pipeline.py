"""From a volume and a model to a label map: the call that every face of DeepSeg makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, ModelError, ResourceError, UsageError
from .labels import LabelMap, known_structure
from .models import Model, ModelCard, coarser_model, find_model, load_model
from .models.loading import segments_nothing
from .progress import Cancel, Progress, check, ignore_progress, never_cancel
from .terminology import structure_for
from .volume import Volume, volume_digest

if TYPE_CHECKING:
    from .inference.memory import RunEstimate
    from .inference.probabilities import TopProbabilities
    from .inference.region import Roi


@dataclass
class Result:
    """What a segmentation run gives.

    Attributes:
        label_map: the structures asked for, on the volume's own grid.
        confidence: mean probability of each structure found, 0 to 1.
        boundary_margin: of each structure that has a border, the mean over the voxels there (on the network's grid) of
            the largest probability less the second largest: 0 where the network is undecided, 1 where it is certain.
        warnings: one sentence each.
        timings: seconds by stage.
        provenance: model, settings, device and versions.
        plan: what the run was expected to take, and the settings that it ended with, see
            :meth:`DeepSegLogic.inference.memory.RunEstimate.as_json`.
        probabilities: of the most probable labels, when they were asked for.
        uncertainty: when it was asked for, (K, J, I) uint8 on the volume's grid: 255 times one minus the probability
            of the most probable label.
    """

    label_map: LabelMap
    confidence: dict[str, float]
    boundary_margin: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    plan: dict = field(default_factory=dict)
    probabilities: TopProbabilities | None = None
    uncertainty: np.ndarray | None = None


def segment(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
    roi: Roi | None = None,
    force: bool = False,
    keep_probabilities: bool = False,
    uncertainty: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Segment a volume.

    Args:
        volume: CT in HU (or what the model was trained on).
        model: an id, a model folder, a card, or a loaded model (which saves loading it again).
        structures: names or titles of those wanted, in any case; None for all.
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.
        quality: ``"draft"``, ``"fast"``, ``"standard"`` or ``"best"``, see :mod:`DeepSegLogic.inference.quality`.
        roi: segment only there, which takes less time; the labels in it are those of the whole volume, and what is
            outside is background. Two corners in RAS mm, or a mask, see :mod:`DeepSegLogic.inference.region`.
        force: go on with a volume that does not look like what the model was trained on.
        keep_probabilities: keep what corrections need later.
        uncertainty: make that map too.
        progress, cancel: see :mod:`DeepSegLogic.progress`.

    Raises:
        UsageError: an unknown structure, quality or device, or a region that does not fit.
        InputError: a volume that the model cannot use, or a region outside of it.
        ModelError: no such model, or a broken one.
        ResourceError: memory or the device does not suffice.
        Cancelled: ``cancel`` said so.
    """
    from .inference.device import choose_device
    from .inference.memory import joined_estimates
    from .inference.parts import joined_top
    from .inference.quality import quality as quality_named
    from .inference.region import region_mask
    from .inference.run import Clock, VolumeRun
    from .provenance import provenance

    progress, cancel = progress or ignore_progress, cancel or never_cancel
    clock = Clock()
    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, progress)
    wanted = _wanted(structures, model)
    clock.lap("load model")
    check(cancel)
    warnings = [*volume.warnings, *check_volume(volume, model.card, force)]

    run = VolumeRun(
        volume,
        model,
        wanted,
        chosen_quality,
        chosen_device,
        clock,
        region=None if roi is None else region_mask(volume, roi),
        keep_probabilities=keep_probabilities,
        uncertainty=uncertainty,
    )
    try:
        run.all_parts(progress, cancel)
    except ResourceError as error:
        other = coarser_model(model.card, wanted.values()) if error.code == "resource.memory" else None
        if other is not None:
            error.remedy += f" The model {other.id}, which is installed, takes less: its voxels are larger."
        raise
    progress("inference", 1.0, "done")
    if not run.confidence:
        warnings.append("None of the structures asked for was found.")

    label_map = LabelMap(run.labels, volume.ijk_to_ras.copy(), [structure_for(n, v) for v, n in wanted.items()])
    top = joined_top(run.tops) if run.tops else None
    if top is not None:
        top.volume_digest = volume_digest(volume)
    clock.lap("finish")
    settings: dict[str, Any] = {"structures": list(wanted.values()), "quality": quality, "device": str(chosen_device)}
    if uncertainty:
        settings["uncertainty"] = True
    if roi is not None:
        settings["roi"] = "mask" if np.ndim(roi) > 1 else [float(x) for x in roi]
    plan = joined_estimates(run.estimates)
    return Result(
        label_map,
        run.confidence,
        run.boundary_margin,
        list(dict.fromkeys(warnings + run.warnings)),
        clock.laps,
        provenance(model, settings, plan.settings.describe()),
        plan.as_json(),
        top,
        run.uncertainty,
    )


def estimate(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
    roi: Roi | None = None,
) -> RunEstimate:
    """What :func:`segment` with the same arguments would need; of several networks the sum of the times, and
    the largest memory.

    Raises:
        UsageError, InputError, ModelError, ResourceError: as :func:`segment`.
    """
    from .inference.device import choose_device
    from .inference.memory import estimate_run, joined_estimates
    from .inference.preprocessing import Boxes
    from .inference.quality import quality as quality_named
    from .inference.region import region_mask

    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, ignore_progress)
    names = set(_wanted(structures, model).values())
    boxes = Boxes(volume, chosen_quality.air, None if roi is None else region_mask(volume, roi))
    return joined_estimates(
        [
            estimate_run(volume, part.networks, part.plan, chosen_quality, chosen_device, boxes)
            for part in map(model.part, model.cards_for(names))
        ]
    )


def check_request(card: ModelCard, structures: list[str] | None, quality: str) -> None:
    """Find out before a volume is read whether the model can be asked this.

    Raises:
        UsageError: an unknown structure or quality.
    """
    from .inference.quality import quality as quality_named

    quality_named(quality)
    known = [structure_for(n, value) for value, n in enumerate(card.structures, start=1)]
    for name in (structures or []) if known else []:  # a card need not name them
        known_structure(name, known)


def check_volume(volume: Volume, card: ModelCard, force: bool) -> list[str]:
    """Whether a volume can be what the model was trained on; warnings where it is doubtful.

    Raises:
        InputError: it cannot, and ``force`` is not given.
    """
    from .volume_checks import GIVE_THE_CT, SEGMENTATION, ct_doubts, reject_unusable

    greys = reject_unusable(volume)
    if card.modality != "CT":
        return []
    reasons, doubts = ct_doubts(volume, greys)
    if SEGMENTATION in reasons and not force:
        raise InputError(
            f"{volume.name} is not a CT. {SEGMENTATION}",
            GIVE_THE_CT,
            code="input.segmentation",
        )
    if reasons and not force:
        raise InputError(
            f"{volume.name} does not look like a CT in HU: {' '.join(reasons)}",
            f"The model {card.id} was trained on CT. Choose a CT, or go on with --force if you are sure.",
            code="input.modality",
        )
    return reasons + doubts


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
    if model.card.takes_prompts:
        raise segments_nothing(model.card)
    labels = model.labels
    if not labels:
        raise ModelError(f"The model {model.card.id} names no structures.", "Install it again.", code="model.plan")
    if structures is None:
        return dict(sorted(labels.items()))
    if not structures:
        raise UsageError("No structure is asked for.", "Name at least one, or none for all.", code="usage.structures")
    known = [structure_for(n, v) for v, n in labels.items()]
    wanted = {known_structure(name, known).name for name in structures}
    return {v: n for v, n in sorted(labels.items()) if n in wanted}
