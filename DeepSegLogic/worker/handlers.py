"""What a worker can be asked for. To add a request, write a function and put it into ``HANDLERS``.

A handler gets its :class:`~DeepSegLogic.worker.engine.Job` (progress, cancel, what is warm) and the request's
keyword arguments; what it returns is the result. Arguments and result are whatever ``codec`` can send.
Heavy imports belong inside the functions: the worker says hello before torch is loaded.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine import Handler, Job

if TYPE_CHECKING:
    from ..labels import LabelMap
    from ..measures import Measurement
    from ..models import Model
    from ..pipeline import Result
    from ..refine.prompts import Prompt
    from ..refine.review import Finding
    from ..surfaces import SurfaceSet
    from ..volume import Volume


def ping(job: Job) -> dict[str, Any]:
    """Who is there, and the id of the model that is loaded: ``pid``, ``python``, ``model``."""
    model = job.warm.get("model")
    return {"pid": os.getpid(), "python": platform.python_version(), "model": model and model[0][0]}


def segment(job: Job, *, volume: Volume, model: str, device: str = "auto", **options: Any) -> Result:
    """:func:`DeepSegLogic.pipeline.segment`; the model stays loaded for the next request.

    Args:
        volume, model, device: as there; ``model`` is an id or a folder.
        options: ``structures``, ``quality``, ``roi``, ``uncertainty``, ``keep_probabilities``, ``force``, as there.
    """
    from .. import pipeline

    return pipeline.segment(
        volume, _loaded(job, model), device=device, progress=job.progress, cancel=job.cancel, **options
    )


def estimate(
    job: Job,
    *,
    shape: list[int],
    ijk_to_ras: np.ndarray,
    model: str,
    device: str = "auto",
    quality: str = "standard",
) -> dict[str, Any]:
    """What ``segment`` will take on this machine; loads the model, which ``segment`` then finds warm.

    Args:
        shape, ijk_to_ras: of the volume, (K, J, I) and 4×4; its voxels are not needed.
        model, device, quality: as for ``segment``.

    Returns:
        :meth:`~DeepSegLogic.inference.memory.RunEstimate.as_json`.
    """
    from .. import pipeline
    from ..volume import Volume

    filled = np.broadcast_to(np.int16(1), tuple(shape))  # as if there were no air around the patient
    told = pipeline.estimate(Volume(filled, ijk_to_ras), _loaded(job, model), device=device, quality=quality)
    return told.as_json()


def surfaces(job: Job, *, label_map: LabelMap, **options: Any) -> SurfaceSet:
    """:func:`DeepSegLogic.surfaces.extract_surfaces` with its options."""
    from ..surfaces import extract_surfaces

    return extract_surfaces(label_map, progress=job.progress, cancel=job.cancel, **options)


def measure(
    job: Job, *, label_map: LabelMap, volume: Volume, confidence: dict[str, float], boundary_margin: dict[str, float]
) -> list[Measurement]:
    """:func:`DeepSegLogic.measures.measure`."""
    from ..measures import measure

    return measure(label_map, volume, confidence, boundary_margin)


def review(job: Job, *, label_map: LabelMap, confidence: dict[str, float]) -> list[Finding]:
    """:func:`DeepSegLogic.refine.review.review`."""
    from ..refine.review import review

    return review(label_map, confidence)


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
    """:func:`DeepSegLogic.refine.refine` by a model that takes prompts, which stays loaded.

    Returns:
        ``label_map``, corrected; ``box`` of what changed, (start, stop) along (K, J, I), or None; ``skipped``: why
        prompts had no effect; ``notes``; ``licence`` of the model.
    """
    from ..refine import refine as run

    network = _prompt_network(job, model, device)
    done = run(
        label_map,
        prompts,
        volume=volume,
        network=network,
        locked=locked,
        progress=job.progress,
        cancel=job.cancel,
    )
    return {
        "label_map": done.label_map,
        "box": done.changed_box and [(s.start, s.stop) for s in done.changed_box],
        "skipped": list(done.skipped.values()),
        "notes": done.notes,
        "licence": network.licence,
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
    **options: Any,
) -> list[str]:
    """:func:`DeepSegLogic.outputs.export_result` with its options; the paths of what was written."""
    from ..outputs import export_result

    written = export_result(
        Path(folder),
        label_map,
        volume,
        formats,
        confidence=confidence,
        boundary_margin=boundary_margin,
        progress=job.progress,
        cancel=job.cancel,
        **options,
    )
    return [str(path) for path in written]


def install_model(job: Job, *, model: str) -> str:
    """Download a model of the catalogue and install it; returns its id."""
    from ..models.fetch import ensure_model

    return ensure_model(model, lambda card: True, job.progress, job.cancel).id


def import_model(job: Job, *, path: str) -> str:
    """:func:`DeepSegLogic.models.importing.import_model`; returns the model's id."""
    from ..models.importing import import_model

    return import_model(Path(path), progress=job.progress, cancel=job.cancel).id


def _loaded(job: Job, name: str) -> Model:
    """The model of this id or folder, loaded now or by an earlier job. One is kept: GPU memory is short."""
    from ..models import find_model, load_model

    card = find_model(name)
    files = [f for f in Path(card.folder).rglob("*") if f.is_file()]
    version = (card.id, str(card.folder), max(f.stat().st_mtime_ns for f in files))  # installed anew meanwhile?
    kept = job.warm.get("model")
    if kept is None or kept[0] != version:
        job.progress("load model", 0.0, card.title)  # importing torch is most of it, the first time
        job.warm.pop("model", None)
        kept = job.warm["model"] = (version, load_model(card))
        job.progress("load model", 1.0, card.title)
    return kept[1]


def _prompt_network(job: Job, name: str, device: str):
    """As :func:`DeepSegLogic.refine.network.prompt_network`; stays loaded as :func:`_loaded` keeps models."""
    from ..models import find_model
    from ..models.card import PROMPTED
    from ..refine.network import NnInteractive, PromptNetwork

    card = find_model(name)
    if card.backend != PROMPTED:
        return PromptNetwork(_loaded(job, name), device)
    kept, wanted = job.warm.get("model"), (card.id, str(card.folder), device)
    if kept is None or kept[0] != wanted:
        job.progress("load model", 0.0, card.title)
        job.warm.pop("model", None)
        kept = job.warm["model"] = (wanted, NnInteractive(card, device))
    return kept[1]


HANDLERS: dict[str, Handler] = {
    "ping": ping,
    "segment": segment,
    "estimate": estimate,
    "surfaces": surfaces,
    "measure": measure,
    "review": review,
    "refine": refine,
    "export": export,
    "install_model": install_model,
    "import_model": import_model,
}
