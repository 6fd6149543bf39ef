"""Segmentation: from a volume and a model to a label map. Panel, page, command line and cohorts all call this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .classify.phase_rule import median_hu, phase_from
from .data.channels import by_number
from .data.label_map import LabelMap
from .data.records import ArrayRecord
from .data.run_record import Provenance, RunChoices, RunPlan, Timings
from .data.terminology import known_names, structure_for
from .data.types import ByteArray
from .data.volume import Volume, volume_digest
from .models import Model, ModelCard, coarser_model, find_model, load_model
from .models.input_checks import channels_on_grid, check_volume
from .models.model import only_finds_boxes, segments_nothing
from .util.errors import ModelError, ResourceError, UsageError
from .util.given import checks_arguments
from .util.progress import Cancel, Progress, check, ignore_progress, never_cancel

if TYPE_CHECKING:
    from .data.probabilities import TopProbabilities
    from .inference.estimate import RunEstimate
    from .inference.roi import Roi


@dataclass(eq=False, repr=False)
class Result(ArrayRecord):
    """Result of a segmentation.

    Attributes:
        label_map: the structures asked for, on the volume's own grid.
        confidence: mean probability of each structure found, 0 to 1.
        boundary_margin: for each structure with a border, the mean difference between the largest and the second
            largest probability of its border voxels (on the network's grid): 0 undecided, 1 certain.
        warnings: one sentence each.
        timings: seconds by stage.
        provenance: model, settings, device and versions.
        plan: what the run was expected to take, and the settings that it ended with.
        probabilities: those of the most probable labels, if requested.
        uncertainty: if requested, (K, J, I) uint8 on the volume's grid: 255 times one minus the probability of the most
            probable label.
        cut: names of the structures that the region of interest cuts, so that their volumes are lower bounds.
        phase: contrast phase of a CT, see :func:`DeepSegLogic.classify.phase_rule.phase_from`; empty if unknown.
        enhanced: what the network saw instead of the volume, see :func:`DeepSegLogic.enhance.before.segment_enhanced`.
    """

    label_map: LabelMap
    confidence: dict[str, float]
    boundary_margin: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    timings: Timings = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    plan: RunPlan = field(default_factory=RunPlan)
    probabilities: TopProbabilities | None = None
    uncertainty: ByteArray | None = None
    enhanced: Volume | None = None
    phase: str = ""
    cut: list[str] = field(default_factory=list)

    def _shown(self) -> Iterator[tuple[str, object]]:
        return ((name, value) for name, value in super()._shown() if name not in ("provenance", "plan"))


@checks_arguments
def segment(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    channels: Mapping[str, Volume] | None = None,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
    roi: Roi | None = None,
    force: bool = False,
    keep_probabilities: bool = False,
    uncertainty: bool = False,
    min_piece_ml: float = 0.0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Segment a volume.

    Args:
        volume: CT in HU (or what the model was trained on).
        model: an id, a model folder, a card, or a loaded model (which is then not loaded again).
        channels: for a model that sees several images, the volumes beside the first one, by the name of the channel or
            its number from 1, e.g. ``{"PET": pet}``. Others than the first are put on its grid, see
            :func:`DeepSegLogic.data.channels.on_grid_of`.
        structures: names or titles, in any case; None for all but those on request.
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.
        quality: ``"draft"``, ``"fast"``, ``"standard"`` or ``"best"``, see :mod:`DeepSegLogic.inference.presets`.
        roi: region of interest: two corners in RAS mm, or a mask, see :mod:`DeepSegLogic.inference.roi`. The labels
            inside are those of the whole volume, found in less time; outside is background.
        force: segment a volume even if it does not look like what the model was trained on.
        keep_probabilities: keep the probabilities that corrections use.
        uncertainty: compute the uncertainty map too.
        min_piece_ml: remove connected pieces of structures that are not larger; 0 keeps what the model's card keeps.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: an unknown structure, quality or device, a region of the wrong shape, or a channel that is
            unknown, missing or given twice.
        InputError: the model cannot use a volume, or the region or a channel lies outside of it.
        ModelError: there is no such model, or it is broken.
        ResourceError: out of memory, or the device is missing or fails.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import read_volume, segment
        >>> ct = read_volume("ct.nrrd")
        >>> result = segment(ct, "ct_demo", structures=["lung_left"], quality="draft", device="cpu")
        >>> result.label_map.volume_ml("lung_left") > 1000
        True
        >>> result.provenance["model"]["id"]
        'ct_demo'
    """
    from .inference.chained_run import run_chain
    from .inference.confidence import joined_top
    from .inference.device import choose_device
    from .inference.estimate import joined_estimates
    from .inference.presets import quality as quality_named
    from .inference.roi import cut_by, region_mask
    from .inference.volume_run import Clock, VolumeRun
    from .models.provenance import provenance

    progress, cancel = progress or ignore_progress, cancel or never_cancel
    clock = Clock()
    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, progress)
    wanted = _wanted(structures, model)
    clock.lap("load model")
    check(cancel)
    warnings = [*volume.warnings, *check_volume(volume, model.card, force)]
    others = by_number(model.card.channels, (channels or {}).items(), model.card.id)
    arrays, doubts = channels_on_grid(volume, others, model.card, force)
    warnings += doubts

    region = None if roi is None else region_mask(volume, roi)
    run = VolumeRun(
        volume,
        model,
        wanted,
        chosen_quality,
        chosen_device,
        clock,
        channels=arrays,
        region=region,
        keep_probabilities=keep_probabilities,
        uncertainty=uncertainty,
    )
    try:
        crop = run_chain(run, progress, cancel)
    except ResourceError as error:
        _suggest_coarser(error, model.card, wanted.values())
        raise
    progress("inference", 1.0, "done")
    progress("finish", 0.0, "")
    run.remove_pieces(min_piece_ml, progress, cancel)
    warnings += run.warnings
    if not run.confidence:
        warnings.append("None of the requested structures was found.")

    label_map = LabelMap(run.labels, volume.ijk_to_ras.copy(), [structure_for(n, v) for v, n in wanted.items()])
    values = cut_by(region, run.labels) if region is not None else set()
    cut = [s for s in label_map.structures if s.value in values]
    if cut:
        titles = ", ".join(s.title for s in cut)
        warnings.append(f"The region of interest ends in: {titles}. Their volumes are lower bounds.")
    top = joined_top(run.tops) if run.tops else None
    if top is not None:
        top.volume_digest = volume_digest(volume)
    clock.lap("finish")
    progress("finish", 1.0, "done")
    choices: RunChoices = {"structures": list(wanted.values()), "quality": quality, "device": str(chosen_device)}
    if others:
        choices["channels"] = {model.card.channels[number]: other.name for number, other in others.items()}
    choices |= _unusual_choices(uncertainty, min_piece_ml, roi)
    plan = joined_estimates(run.estimates) if run.estimates else None  # None: its region is known not to be there
    return Result(
        label_map,
        run.confidence,
        run.boundary_margin,
        list(dict.fromkeys(warnings)),
        clock.laps,
        provenance(model, choices, plan.settings.describe() if plan else "no network ran", crop),
        plan.as_json() if plan else {},
        top,
        run.uncertainty,
        phase=phase_from(median_hu(label_map, volume)) if model.card.modality == "CT" else "",
        cut=[s.name for s in cut],
    )


@checks_arguments
def estimate(
    volume: Volume,
    model: str | Path | ModelCard | Model,
    *,
    channels: Mapping[str, Volume] | None = None,
    structures: list[str] | None = None,
    device: str = "auto",
    quality: str = "standard",
    roi: Roi | None = None,
) -> RunEstimate:
    """Estimate the windows, memory and time that :func:`segment` with the same arguments takes.

    For a model of several networks, or one that sees a region which another model finds: the sum of their windows and
    times, and the largest memory. The region is not known yet: it counts as the whole volume.

    Raises:
        UsageError, InputError, ModelError, ResourceError: as :func:`segment`.

    Example:
        >>> from DeepSegLogic import estimate, read_volume
        >>> plan = estimate(read_volume("ct.nrrd"), "ct_demo", quality="draft", device="cpu")
        >>> plan.windows, plan.device_bytes
        (1, 0)
    """
    from .inference.chained_run import models_run
    from .inference.device import choose_device
    from .inference.estimate import estimate_run, joined_estimates
    from .inference.grid_plan import Grids
    from .inference.presets import quality as quality_named
    from .inference.roi import region_mask

    chosen_quality, chosen_device = quality_named(quality), choose_device(device)
    model = _loaded(model, ignore_progress)
    names = set(_wanted(structures, model).values())
    others = by_number(model.card.channels, (channels or {}).items(), model.card.id)
    arrays, _ = channels_on_grid(volume, others, model.card, force=True)
    parts = []
    for link, marked, thoroughly in models_run(model, names, chosen_quality):
        region = region_mask(volume, roi) if roi is not None and link is model else None
        grids = Grids(volume, thoroughly.air, region, arrays if link is model else ())
        for part in map(link.part, link.cards_for(marked)):  # one in memory at a time
            for stage in part.stages:
                assert stage.plan is not None  # a part has one network
                parts.append(estimate_run(volume, stage.networks, stage.plan, thoroughly, chosen_device, grids))
    return replace(joined_estimates(parts), at_most=model.card.crop is not None)


def check_request(card: ModelCard, structures: list[str] | None, quality: str) -> None:
    """Check a request before the volume is read.

    Raises:
        UsageError: an unknown structure or quality.
        ModelError: the model finds boxes.
    """
    from .inference.presets import quality as quality_named

    if card.finds_boxes:
        raise only_finds_boxes(card)
    quality_named(quality)
    if known := card.structures + card.on_request:  # a card need not name them
        known_names(structures or [], known)


def _suggest_coarser(error: ResourceError, card: ModelCard, wanted: Iterable[str]) -> None:
    """Name an installed model that needs less memory, if that ran out, in the error's remedy."""
    other = coarser_model(card, wanted) if error.code == "resource.memory" else None
    if other is not None:
        error.remedy += f" The model {other.id}, which is installed, takes less: its voxels are larger."


def _unusual_choices(uncertainty: bool, min_piece_ml: float, roi: Roi | None) -> RunChoices:
    """What the provenance of most results lacks."""
    choices: RunChoices = {}
    if uncertainty:
        choices["uncertainty"] = True
    if min_piece_ml > 0:
        choices["min_piece_ml"] = min_piece_ml
    if roi is not None:
        choices["roi"] = "mask" if np.ndim(roi) > 1 else [float(x) for x in roi]
    return choices


def _loaded(model: str | Path | ModelCard | Model, progress: Progress) -> Model:
    if isinstance(model, Model):
        return model
    progress("load model", 0.0, "loading")
    card = model if isinstance(model, ModelCard) else find_model(model)
    loaded = load_model(card)
    progress("load model", 1.0, "loading")
    return loaded


def _wanted(structures: list[str] | None, model: Model) -> dict[int, str]:
    """Names of the requested structures by label value."""
    if model.card.takes_prompts:
        raise segments_nothing(model.card)
    labels = model.labels
    if not labels:
        raise ModelError(f"The model {model.card.id} names no structures.", "Install it again.", code="model.plan")
    if structures is None:
        return {v: n for v, n in sorted(labels.items()) if n not in model.card.on_request}
    if not structures:
        raise UsageError(
            "The list of structures is empty.",
            "Name at least one structure, or leave it out for all.",
            code="usage.structures",
        )
    wanted = known_names(structures, labels.values())
    return {v: n for v, n in sorted(labels.items()) if n in wanted}
