"""The requests that a worker answers. To add one, write a function and put it into ``HANDLERS``.

A handler gets its :class:`~DeepSegLogic.worker.job_loop.Job` (progress, cancel, what stays loaded) and the request's
keyword arguments, and returns the result. Arguments and results are limited to what
:mod:`~DeepSegLogic.worker.serialization` can send. Heavy imports belong inside the functions: the worker connects
before torch is loaded.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import archive_handlers
from .job_loop import Handler, Job
from .sureness import explain, second_opinion

if TYPE_CHECKING:
    from ..classify import Scan
    from ..data.label_map import LabelMap
    from ..data.run_record import RunPlan
    from ..data.types import Affine
    from ..data.volume import Volume
    from ..detection.finding import BoxFindings
    from ..followup.change import Change
    from ..models import Model
    from ..refinement.prompted_network import NnInteractive, PromptNetwork
    from ..refinement.prompts import Prompt
    from ..refinement.solver import Refinement
    from ..review.findings import Finding
    from ..review.measurements import Measurement
    from ..segmentation import Result
    from ..surfaces import SurfaceSet


def ping(job: Job) -> dict[str, Any]:
    """``pid`` and ``python`` of the worker, and the id of the loaded ``model``."""
    model = job.warm.get("model")
    return {"pid": os.getpid(), "python": platform.python_version(), "model": model and model[0][0]}


def segment(job: Job, *, volume: Volume, model: str, device: str = "auto", enhance: str = "", **options: Any) -> Result:
    """:func:`DeepSegLogic.segmentation.segment`; the model stays loaded for the next request.

    Args:
        volume, model, device: as there; ``model`` is an id or a folder.
        enhance: see :func:`DeepSegLogic.enhance.before.segment_enhanced`; empty for the CT as it is.
        options: ``channels``, ``structures``, ``quality``, ``roi``, ``uncertainty``, ``keep_probabilities``, ``force``,
            as there.
    """
    from ..enhance.before import segment_enhanced

    return segment_enhanced(
        volume, _loaded(job, model), enhance, device=device, progress=job.progress, cancel=job.cancel, **options
    )


def estimate(
    job: Job,
    *,
    shape: list[int],
    ijk_to_ras: Affine,
    model: str,
    device: str = "auto",
    quality: str = "standard",
) -> RunPlan:
    """Time and memory that ``segment`` will need on this machine. Loads the model, which ``segment`` then reuses.

    Args:
        shape, ijk_to_ras: of the volume, (K, J, I) and 4×4 to RAS mm; its voxels are not needed.
        model, device, quality: as for ``segment``.

    Returns:
        :meth:`~DeepSegLogic.inference.estimate.RunEstimate.as_json`.
    """
    from .. import segmentation
    from ..data.volume import Volume

    # As if there were no air around the patient.
    filled, loaded = Volume(np.broadcast_to(np.int16(1), tuple(shape)), ijk_to_ras), _loaded(job, model)
    channels = {str(number): filled for number in range(1, len(loaded.card.channels))}
    return segmentation.estimate(filled, loaded, channels=channels, device=device, quality=quality).as_json()


def classify(job: Job, *, volume: Volume) -> Scan:
    """:func:`DeepSegLogic.classify.what_is`; :func:`~DeepSegLogic.classify.thinned` makes the volume small to send."""
    from ..classify import what_is

    return what_is(volume)


def surfaces(job: Job, *, label_map: LabelMap, **options: Any) -> SurfaceSet:
    """:func:`DeepSegLogic.surfaces.make_surfaces` with its options."""
    from ..surfaces import make_surfaces

    return make_surfaces(label_map, progress=job.progress, cancel=job.cancel, **options)


def measure(
    job: Job, *, label_map: LabelMap, volume: Volume, confidence: dict[str, float], boundary_margin: dict[str, float]
) -> list[Measurement]:
    """:func:`DeepSegLogic.review.measurements.measure`."""
    from ..review.measurements import measure

    return measure(label_map, volume, confidence, boundary_margin)


def review(job: Job, *, label_map: LabelMap, confidence: dict[str, float]) -> list[Finding]:
    """:func:`DeepSegLogic.review.findings.review`."""
    from ..review.findings import review

    return review(label_map, confidence)


def open_segmentation(job: Job, *, path: str, volume: Volume) -> LabelMap:
    """:func:`DeepSegLogic.io.segmentations.read_segmentation_of`."""
    from ..io.segmentations import read_segmentation_of

    job.progress("open", 0.0)
    return read_segmentation_of(volume, Path(path))


def evaluate(job: Job, *, label_map: LabelMap, reference: LabelMap) -> dict[str, Any]:
    """:func:`DeepSegLogic.evaluation.evaluate` of two label maps on the same grid.

    Returns:
        ``scores``, a list of :class:`~DeepSegLogic.evaluation.scoring.Score`, and ``notes``: what was not compared.
    """
    from ..evaluation import evaluate as run
    from ..evaluation.report import notes

    found = run(label_map, reference, progress=job.progress, cancel=job.cancel)
    return {"scores": found.scores, "notes": notes(found)}


def follow_up(
    job: Job,
    *,
    earlier: LabelMap,
    earlier_volume: Volume | None,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    days: float | None,
    folder: str,
) -> dict[str, Any]:
    """:func:`DeepSegLogic.followup.follow_up` of a result and an earlier one; its files are written to ``folder``.

    Returns:
        ``changes``, a list of :class:`~DeepSegLogic.followup.change.Change`; ``notes``, its warnings.
    """
    from ..followup import TimePoint, write_follow_up
    from ..followup import follow_up as run

    before, after = TimePoint(earlier, earlier_volume), TimePoint(label_map, volume, confidence)
    found = run(before, after, days=days, progress=job.progress, cancel=job.cancel)
    write_follow_up(found, Path(folder), job.cancel)
    return {"changes": found.changes, "notes": found.warnings}


def detect(job: Job, *, volume: Volume, model: str, device: str = "auto", force: bool = False) -> BoxFindings:
    """:func:`DeepSegLogic.detection.detect.detect` by a model with this id or folder."""
    from ..detection.detect import detect as run

    job.warm.clear()  # for its memory
    return run(volume, model, device=device, force=force, progress=job.progress, cancel=job.cancel)


def export_findings(
    job: Job, *, found: BoxFindings, volume: Volume | None, source: str, folder: str, formats: list[str]
) -> dict[str, list[str]]:
    """:func:`DeepSegLogic.detection.output.write_findings`.

    Args:
        volume: that was searched, for a DICOM report; ``source`` is its series, empty if unknown.

    Returns:
        ``files``, their paths; ``notes``, what had to be made up.
    """
    from dataclasses import replace

    from ..detection.output import write_findings

    job.progress("write", 0.0, "")
    files = write_findings(found, folder, formats, volume=replace(volume, source=source) if volume else None)
    return {"files": [str(path) for path in files], "notes": found.warnings}


def plan(job: Job, *, label_map: LabelMap, entries: dict[str, Any]) -> dict[str, Any]:
    """:func:`DeepSegLogic.planning.evaluate_plan` of a plan with these entries.

    Returns:
        ``numbers``, by kind; ``shapes``: surfaces of the margins, and the distance maps, in a dict as the numbers;
        ``notes``.
    """
    from ..planning import Plan, evaluate_plan
    from ..surfaces import make_surfaces

    done = evaluate_plan(Plan(entries), label_map, job.progress, job.cancel)
    numbers = {kind: done.plan.numbers[kind] for kind in entries} if done.plan.numbers else {}
    known = {s.name for s in label_map.structures}
    margins = [s.name for s in done.label_map.structures if s.name not in known][: len(entries.get("margins", []))]
    surfaces = list(make_surfaces(done.label_map, margins, cancel=job.cancel)) if margins else []
    return {
        "numbers": numbers,
        "shapes": {"margins": surfaces, "distance_maps": list(done.maps)},
        "notes": list(done.notes),
    }


def plan_pictures(
    job: Job, *, label_map: LabelMap, entries: dict[str, Any], folder: str, preset: str
) -> dict[str, Any]:
    """:func:`DeepSegLogic.results.plan_pictures.write_pictures` of a plan with these entries, into ``folder``.

    Returns:
        ``files``, their paths.
    """
    from ..planning import Plan, evaluate_plan
    from ..results.plan_pictures import write_pictures

    done = evaluate_plan(Plan(entries), label_map, job.progress, job.cancel)
    files = write_pictures(done, folder, preset, progress=job.progress, cancel=job.cancel)
    return {"files": [str(path) for path in files]}


def draft(
    job: Job,
    *,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    plan: dict[str, Any] | None,
    changes: list[Change],
    endpoint: dict[str, Any],
) -> dict[str, Any]:
    """:func:`DeepSegLogic.drafting.draft.word` of the table of a result.

    Args:
        plan: content of a plan file.
        endpoint: fields of :class:`~DeepSegLogic.drafting.endpoint.Endpoint`.

    Returns:
        ``draft``, as :meth:`~DeepSegLogic.results.draft.Draft.as_json` gives it; ``lines`` and ``titles`` of the
        table; ``volumes`` in ml, by name.
    """
    from ..drafting.draft import word
    from ..drafting.endpoint import Endpoint
    from ..drafting.table import table_of
    from ..planning import parse_plan
    from ..results.preview import key_slices, write_preview
    from ..review.measurements import measure
    from ..util.staging import temporary_folder

    rows = measure(label_map, volume, confidence)
    planned = parse_plan(json.dumps(plan).encode(), "The plan") if plan is not None else None
    table = table_of(label_map, rows, confidence=confidence, plan=planned, changes=changes)
    where, picture = Endpoint(**endpoint), None
    if where.pictures:
        with temporary_folder() as folder:
            write_preview(volume, label_map, folder / "preview.png")
            picture = key_slices(folder / "preview.png")
    made = word(table, where, picture, job.progress, job.cancel)
    volumes = {row.name: row.volume_ml for row in rows if row.voxels}
    return {"draft": made.as_json(), "lines": list(table.lines), "titles": dict(table.titles), "volumes": volumes}


def refine(
    job: Job,
    *,
    label_map: LabelMap,
    volume: Volume,
    prompts: list[Prompt],
    model: str,
    device: str = "auto",
    locked: list[str] | None = None,
) -> dict[str, Any]:
    """:func:`DeepSegLogic.refinement.refine` by a model that takes prompts, which stays loaded.

    Returns:
        as :func:`refined`, with the ``licence`` of the model.
    """
    from ..refinement import refine as run

    network = prompt_network(job, model, device)
    done = run(
        label_map,
        prompts,
        volume=volume,
        network=network,
        locked=locked,
        progress=job.progress,
        cancel=job.cancel,
    )
    return {**refined(done), "licence": network.licence}


def refined(done: Refinement) -> dict[str, Any]:
    """A correction as it is sent.

    Returns:
        ``label_map``, corrected; ``box`` of what changed, (start, stop) along (K, J, I), or None; ``skipped``: number
        of a prompt → why it had no effect; ``notes``.
    """
    return {
        "label_map": done.label_map,
        "box": done.changed_box and [(s.start, s.stop) for s in done.changed_box],
        "skipped": {str(number): why for number, why in done.skipped.items()},
        "notes": done.notes,
    }


def export(
    job: Job,
    *,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    boundary_margin: dict[str, float],
    folder: str,
    formats: list[str],
    source: str = "",
    **options: Any,
) -> list[str]:
    """:func:`DeepSegLogic.results.folder.export_result` with its options; the paths of what was written.

    Args:
        source: empty if unknown.
    """
    from ..results.folder import export_result

    written = export_result(
        Path(folder),
        label_map,
        volume,
        formats,
        source=Path(source) if source else None,
        confidence=confidence,
        boundary_margin=boundary_margin,
        progress=job.progress,
        cancel=job.cancel,
        **options,
    )
    return [str(path) for path in written]


def collect_case(
    job: Job, *, model: str, volume: Volume, label_map: LabelMap, structures: list[str] | None = None
) -> str:
    """:meth:`DeepSegLogic.adaptation.cases.CorrectedCases.add`; returns the digest of the case."""
    from ..adaptation.cases import CorrectedCases

    job.progress("write", 0.0, volume.name)
    return CorrectedCases(model).add(volume, label_map, structures).digest


def adapt(job: Job, *, model: str, minutes: float, device: str = "auto") -> list[str]:
    """:func:`DeepSegLogic.adaptation.fine_tune.adapt`; the offer is kept for later. Returns its notes."""
    from ..adaptation.fine_tune import adapt as run

    job.warm.clear()  # for its memory
    return list(run(model, minutes=minutes, device=device, progress=job.progress, cancel=job.cancel).notes)


def accept_offer(job: Job, *, model: str) -> str:
    """:meth:`DeepSegLogic.adaptation.offer.Offer.accept` of the model's offer; returns the id of the new version."""
    from ..adaptation.cases import CorrectedCases
    from ..adaptation.offer import the_offer

    job.progress("write", 0.0, model)
    return the_offer(CorrectedCases(model)).accept().id


def go_back(job: Job, *, model: str) -> str:
    """:func:`DeepSegLogic.adaptation.lineage.go_back`; returns the id of the model to use then."""
    from ..adaptation.lineage import go_back as run

    job.progress("write", 0.0, model)
    return run(model).id


def install_model(job: Job, *, model: str) -> str:
    """Download a model of the catalogue and install it; returns its id."""
    from ..models.install import ensure_model

    return ensure_model(model, lambda card: True, job.progress, job.cancel).id


def import_model(job: Job, *, path: str) -> str:
    """:func:`DeepSegLogic.models.import_export.import_model`; returns the model's id."""
    from ..models.import_export import import_model

    return import_model(Path(path), progress=job.progress, cancel=job.cancel).id


def _loaded(job: Job, name: str) -> Model:
    """The model of this id or folder, loaded now or by an earlier job. Only one is kept, to save GPU memory."""
    from ..models import find_model, load_model

    card = find_model(name)
    assert card.folder is not None  # it was found in one
    files = [f for f in card.folder.rglob("*") if f.is_file()]
    version = (card.id, str(card.folder), max(f.stat().st_mtime_ns for f in files))  # changes when it is reinstalled
    kept = job.warm.get("model")
    if kept is None or kept[0] != version:
        job.progress("load model", 0.0, card.title)  # the first time, most of it is the import of torch
        job.warm.pop("model", None)
        kept = job.warm["model"] = (version, load_model(card))
        job.progress("load model", 1.0, card.title)
    model: Model = kept[1]
    return model


def prompt_network(job: Job, name: str, device: str) -> PromptNetwork | NnInteractive:
    """As :func:`~DeepSegLogic.refinement.prompted_network.prompt_network`; stays loaded as with :func:`_loaded`."""
    from ..models import find_model
    from ..refinement.prompted_network import SESSIONS, PromptNetwork

    card = find_model(name)
    session = SESSIONS.get(card.backend)
    if session is None:
        return PromptNetwork(_loaded(job, name), device)
    kept, wanted = job.warm.get("model"), (card.id, str(card.folder), device)
    if kept is None or kept[0] != wanted:
        job.progress("load model", 0.0, card.title)
        job.warm.pop("model", None)
        kept = job.warm["model"] = (wanted, session(card, device))
    network: NnInteractive = kept[1]
    return network


HANDLERS: dict[str, Handler] = {
    "ping": ping,
    "segment": segment,
    "estimate": estimate,
    "classify": classify,
    "surfaces": surfaces,
    "measure": measure,
    "review": review,
    "open_segmentation": open_segmentation,
    "evaluate": evaluate,
    "follow_up": follow_up,
    "detect": detect,
    "export_findings": export_findings,
    "plan": plan,
    "plan_pictures": plan_pictures,
    "draft": draft,
    "refine": refine,
    "explain": explain,
    "second_opinion": second_opinion,
    "export": export,
    **archive_handlers.HANDLERS,
    "collect_case": collect_case,
    "adapt": adapt,
    "accept_offer": accept_offer,
    "go_back": go_back,
    "install_model": install_model,
    "import_model": import_model,
}
