"""The requests that change which models there are, and the models that stay loaded."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...util.errors import InputError
from ..job_loop import Job

if TYPE_CHECKING:
    from ...data.label_map import LabelMap
    from ...data.volume import Volume
    from ...models import Model
    from ...refinement.prompted_network import NnInteractive, PromptNetwork


def collect_case(
    job: Job,
    *,
    model: str,
    volume: Volume,
    label_map: LabelMap,
    structures: list[str] | None = None,
    patient: str = "",
) -> str:
    """:meth:`DeepSegLogic.adaptation.cases.CorrectedCases.add`; returns the digest of the case."""
    from ...adaptation.cases import CorrectedCases

    job.progress("write", 0.0, volume.name)
    return CorrectedCases(model).add(volume, label_map, structures, patient).digest


def patient_id(job: Job, *, source: str) -> str:
    """:func:`DeepSegLogic.io.patients.patient_id_of` a series; empty also if that is no longer there."""
    from ...io.patients import patient_id_of

    with suppress(InputError):
        return patient_id_of(Path(source))
    return ""


def adapt(job: Job, *, model: str, minutes: float, device: str = "auto") -> list[str]:
    """:func:`DeepSegLogic.adaptation.fine_tune.adapt`; the offer is kept for later. Returns its notes."""
    from ...adaptation.fine_tune import adapt as run

    job.warm.clear()  # for its memory
    return list(run(model, minutes=minutes, device=device, progress=job.progress, cancel=job.cancel).notes)


def accept_offer(job: Job, *, model: str) -> str:
    """:meth:`DeepSegLogic.adaptation.offer.Offer.accept` of the model's offer; returns the id of the new version."""
    from ...adaptation.cases import CorrectedCases
    from ...adaptation.offer import the_offer

    job.progress("write", 0.0, model)
    return the_offer(CorrectedCases(model)).accept().id


def go_back(job: Job, *, model: str) -> str:
    """:func:`DeepSegLogic.adaptation.lineage.go_back`; returns the id of the model to use then."""
    from ...adaptation.lineage import go_back as run

    job.progress("write", 0.0, model)
    return run(model).id


def install_model(job: Job, *, model: str) -> str:
    """Download a model of the catalogue and install it; returns its id."""
    from ...models.install import ensure_model

    return ensure_model(model, lambda card: True, job.progress, job.cancel).id


def import_model(job: Job, *, path: str) -> str:
    """:func:`DeepSegLogic.models.import_export.import_model`; returns the model's id."""
    from ...models.import_export import import_model

    return import_model(Path(path), progress=job.progress, cancel=job.cancel).id


def loaded_model(job: Job, name: str) -> Model:
    """The model of this id or folder, loaded now or by an earlier job. Only one is kept, to save GPU memory."""
    from ...models import find_model, load_model
    from ...models.provenance import stamp_of

    card = find_model(name)
    version = (card.id, stamp_of(card))
    kept = job.warm.get("model")
    if kept is None or kept[0] != version:
        job.progress("load model", 0.0, card.title)  # the first time, most of it is the import of torch
        job.warm.pop("model", None)
        kept = job.warm["model"] = (version, load_model(card))
        job.progress("load model", 1.0, card.title)
    model: Model = kept[1]
    return model


def prompt_network(job: Job, name: str, device: str) -> PromptNetwork | NnInteractive:
    """As :func:`DeepSegLogic.refinement.prompted_network.prompt_network`; stays loaded as :func:`loaded_model` does."""
    from ...models import find_model
    from ...refinement.prompted_network import SESSIONS, PromptNetwork

    card = find_model(name)
    session = SESSIONS.get(card.backend)
    if session is None:
        return PromptNetwork(loaded_model(job, name), device)
    kept, wanted = job.warm.get("model"), (card.id, str(card.folder), device)
    if kept is None or kept[0] != wanted:
        job.progress("load model", 0.0, card.title)
        job.warm.pop("model", None)
        kept = job.warm["model"] = (wanted, session(card, device))
    network: NnInteractive = kept[1]
    return network
