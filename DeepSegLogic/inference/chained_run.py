"""A run of a model with those that it needs: one that finds the region that it sees
(:class:`~DeepSegLogic.models.crop.Crop`), and one whose labels its postprocessing needs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..data.boxes import boxes_by_label, grown, hull
from ..data.run_record import CropFacts
from ..data.types import FloatArray, MaskArray, Slices
from ..data.volume import volume_digest
from ..models import Model, ModelCard, find_model, load_model
from ..models.crop import Crop
from ..models.find import chain, check_helpers
from ..models.postprocess import Postprocess
from ..models.provenance import digest_of, model_facts
from ..util.errors import ModelError
from ..util.progress import Cancel, Progress, share
from .postprocess import STEPS
from .presets import Quality
from .volume_run import VolumeRun

HELPERS_SHARE = 0.2  # of a run's progress
_MOST_KEPT = 32


@dataclass(frozen=True)
class _Found:
    """What a helper found: the boxes of structures by name, and its own region if it has one."""

    boxes: dict[str, Slices]
    crop: CropFacts | None


_kept: OrderedDict[tuple[object, ...], _Found] = OrderedDict()
"""What helpers found in this process, the latest last: users try several models, or again, on the same volume."""


def run_chain(run: VolumeRun, progress: Progress, cancel: Cancel) -> CropFacts | None:
    """Run a model. If it sees a region, the helper runs on the whole volume first, and then the networks as if nothing
    were around the region.

    A region that is not there gives no labels and a warning. The box equals TotalSegmentator's (its ``cropping.py``,
    version 2.18): around the voxels of the structures, with as many voxels as fit into the margin.

    Returns:
        what to record of the region; None for a model that sees the whole volume.

    Raises:
        ModelError: a model that it needs is not on this machine, is broken, or does not mark what it should.
        Cancelled, InputError, ResourceError: as :meth:`~.volume_run.VolumeRun.all_parts`.
    """
    card = run.model.card
    check_helpers(card)
    if card.crop is None:
        _run_here(run, progress, cancel)
        return None
    crop, helper = card.crop, find_model(card.crop.model)
    found = _found(run, helper, crop, share(progress, 0.0, HELPERS_SHARE, helper.id), cancel)
    facts: CropFacts = {
        "model": model_facts(helper),
        "structures": list(crop.structures),
        "margin_mm": crop.margin_mm,
    }
    if found.crop is not None:
        facts["crop"] = found.crop
    boxes = [found.boxes[name] for name in crop.structures if name in found.boxes]
    if not boxes:
        run.warnings.append(
            f"{helper.id} finds no {' and no '.join(crop.structures)}, around which {card.id} looks: "
            "nothing was segmented."
        )
        return facts
    box = grown(hull(boxes), whole_voxels(crop.margin_mm, run.volume.spacing_kji), run.volume.shape_kji)
    facts["voxels_ijk"] = [[s.start, s.stop] for s in box[::-1]]
    if run.region is not None and not run.region[box].any():
        run.warnings.append(
            f"The region of interest lies outside of where {card.id} looks, around {' and '.join(crop.structures)}: "
            "nothing was segmented."
        )
        return facts
    run.see(box)
    _run_here(run, share(progress, HELPERS_SHARE, 1.0), cancel)
    return facts


def models_run(model: Model, names: set[str], quality: Quality) -> Iterator[tuple[Model, set[str], Quality]]:
    """The models that :func:`run_chain` runs one after the other, each with what it must mark, and how thoroughly.

    A helper is loaded when its turn comes.

    Raises:
        ModelError: a helper is not on this machine, or is broken.
    """
    card = model.card
    check_helpers(card)
    if card.crop is not None:
        yield from models_run(load_model(find_model(card.crop.model)), set(card.crop.structures), _rough(quality))
    yield model, names, quality
    if card.postprocess is not None and card.postprocess.model is not None:
        yield from models_run(load_model(find_model(card.postprocess.model)), {_other(card.postprocess)}, quality)


def _run_here(run: VolumeRun, progress: Progress, cancel: Cancel) -> None:
    """Run a model in the part of the volume that it sees, with its postprocessing."""
    step = run.model.card.postprocess
    if step is None:
        run.all_parts(progress, cancel)
    else:
        _check_step(run.model, step)
        half = 1.0 if step.model is None else 0.5
        run.all_parts(share(progress, 0.0, half), cancel)
        labels = run.seen_labels()
        if step.model is not None:
            labels.other = _marked_by(run, step, share(progress, half, 1.0, step.model), cancel)
        STEPS[step.name].change(labels)
    run.finish()


def _check_step(model: Model, step: Postprocess) -> None:
    needed = STEPS[step.name]
    lacking = set(needed.structures) - set(model.labels.values())
    if lacking or bool(needed.other) != (step.model is not None):
        what = "no other model" if step.model is not None else "another model"
        what = f"{', '.join(sorted(lacking))}, which it does not mark" if lacking else what
        raise ModelError(
            f"The card of {model.card.id} names the postprocessing {step.name}, which needs {what}.",
            "Correct it, or install the model again.",
            code="model.card",
        )


def _marked_by(run: VolumeRun, step: Postprocess, progress: Progress, cancel: Cancel) -> MaskArray:
    """What the other model that a step needs marks, where the networks of the run see."""
    assert step.model is not None
    progress("load model", 0.0, step.model)
    model, name = load_model(find_model(step.model)), _other(step)
    run.clock.lap("load model")
    _check_marks(run.model.card, model, {name})
    value = next(v for v, n in model.labels.items() if n == name)
    other = VolumeRun(run.seen, model, {value: name}, run.quality, run.device, run.clock)
    run_chain(other, progress, cancel)
    run.warnings += other.warnings
    run.estimates += other.estimates
    mask: MaskArray = other.labels == value
    return mask


def _other(step: Postprocess) -> str:
    return STEPS[step.name].other


def whole_voxels(margin_mm: float, spacing_mm: FloatArray) -> FloatArray:
    """The voxels that fit into a margin, per axis. The spacing counts in single precision, as in the headers that
    TotalSegmentator reads: 24 voxels of 0.8 mm fit into 20 mm."""
    return np.floor(margin_mm / spacing_mm.astype(np.float32).astype(np.float64))


def _found(run: VolumeRun, helper: ModelCard, crop: Crop, progress: Progress, cancel: Cancel) -> _Found:
    """What a helper finds in the volume, or found there before."""
    quality = _rough(run.quality)
    parts = tuple(p.name for p in helper.parts if any(s in crop.structures for s in p.structures))
    models = tuple(digest_of(card) for card in chain(helper))
    key = (volume_digest(run.volume), models, parts, quality, run.device.type)
    if key not in _kept:
        progress("load model", 0.0, helper.title)
        model = load_model(helper)
        run.clock.lap("load model")
        _kept[key] = _run_helper(run, model, crop, quality, progress, cancel)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _run_helper(
    run: VolumeRun, model: Model, crop: Crop, quality: Quality, progress: Progress, cancel: Cancel
) -> _Found:
    names = set(crop.structures)
    _check_marks(run.model.card, model, names)
    # All that the needed networks mark anyway: another model may look around it.
    cards = model.cards_for(names)
    marked = (
        {name for card in cards for name in card.structures} if model.plan is None else set(model.plan.labels.values())
    )
    wanted = {value: name for value, name in model.labels.items() if name in marked}
    finder = VolumeRun(run.volume, model, wanted, quality, run.device, run.clock)
    facts = run_chain(finder, progress, cancel)
    run.warnings += finder.warnings
    run.estimates += finder.estimates
    return _Found({wanted[value]: box for value, box in boxes_by_label(finder.labels).items()}, facts)


def _check_marks(user: ModelCard, model: Model, names: set[str]) -> None:
    if lacking := names - set(model.labels.values()) | names & set(model.card.on_request):
        raise ModelError(
            f"{user.id} needs {' and '.join(sorted(lacking))}, which {model.card.id} does not mark.",
            f"Correct the card of {user.id}, or install the models again.",
            code="model.needs",
        )


def _rough(quality: Quality) -> Quality:
    """The quality for a helper: mirroring is not worth its time for a box."""
    return replace(quality, mirror=False)
