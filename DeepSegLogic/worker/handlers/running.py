"""The requests that run a model on a volume, or ask about such a run."""

from __future__ import annotations

import os
import platform
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..job_loop import Job
from .models import loaded_model, prompt_network

if TYPE_CHECKING:
    from ...classify import Scan
    from ...data.label_map import LabelMap
    from ...data.run_record import RunPlan
    from ...data.types import Affine
    from ...data.volume import Volume
    from ...detection.finding import BoxFindings
    from ...refinement.prompts import Prompt
    from ...refinement.solver import Refinement
    from ...segmentation import Result


def ping(job: Job) -> dict[str, Any]:
    """``pid`` and ``python`` of the worker, and the id of the loaded ``model``."""
    model = job.warm.get("model")
    return {"pid": os.getpid(), "python": platform.python_version(), "model": model and model[0][0]}


def prepare(job: Job) -> None:
    """Import what most requests need, which takes seconds, while the volume that they are about is still being read."""
    import scipy.ndimage  # noqa: F401
    import torch  # noqa: F401


def segment(job: Job, *, volume: Volume, model: str, device: str = "auto", enhance: str = "", **options: Any) -> Result:
    """:func:`DeepSegLogic.segmentation.segment`; the model stays loaded for the next request.

    Args:
        volume, model, device: as there; ``model`` is an id or a folder.
        enhance: see :func:`DeepSegLogic.enhance.before.segment_enhanced`; empty for the CT as it is.
        options: ``channels``, ``structures``, ``quality``, ``roi``, ``uncertainty``, ``keep_probabilities``, ``force``,
            as there.
    """
    from ...enhance.before import segment_enhanced

    job.warm.pop("surfaces", None)  # of an earlier result
    return segment_enhanced(
        volume, loaded_model(job, model), enhance, device=device, progress=job.progress, cancel=job.cancel, **options
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
    from ... import segmentation
    from ...data.volume import Volume

    # As if there were no air around the patient.
    filled, loaded = Volume(np.broadcast_to(np.int16(1), tuple(shape)), ijk_to_ras), loaded_model(job, model)
    channels = {str(number): filled for number in range(1, len(loaded.card.channels))}
    return segmentation.estimate(filled, loaded, channels=channels, device=device, quality=quality).as_json()


def classify(job: Job, *, volume: Volume) -> Scan:
    """:func:`DeepSegLogic.classify.what_is`; :func:`~DeepSegLogic.classify.thinned` makes the volume small to send.

    The last answer is kept: each review of a result asks again about the same volume.
    """
    from ...classify import what_is

    kept = job.warm.get("scan")
    if kept is None or kept[0] != volume:
        kept = job.warm["scan"] = (deepcopy(volume), what_is(volume))
    scan: Scan = kept[1]
    return scan


def detect(job: Job, *, volume: Volume, model: str, device: str = "auto", force: bool = False) -> BoxFindings:
    """:func:`DeepSegLogic.detection.detect.detect` by a model with this id or folder."""
    from ...detection.detect import detect as run

    job.warm.clear()  # for its memory
    return run(volume, model, device=device, force=force, progress=job.progress, cancel=job.cancel)


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
    from ...refinement import refine as run

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
