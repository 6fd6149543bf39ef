"""Provenance of a result: the model, its settings, where it ran, and versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.run_record import CropFacts, ModelFacts, Provenance, RunChoices
from ..util.digests import file_digest
from ..util.version import __version__
from .card import ModelCard
from .files import file_digests, model_digest
from .find import chain, find_model
from .model import Model
from .recognise import files_of


def provenance(model: Model, settings: RunChoices, run: str, crop: CropFacts | None = None) -> Provenance:
    """The record of a run, as plain JSON values.

    Args:
        model: that ran.
        settings: chosen by the user.
        run: where and how it ran, in words.
        crop: the region that the model saw; None for the whole volume.
    """
    import torch

    versions = {"deepseg": __version__, "torch": torch.__version__, "numpy": np.__version__}
    facts: Provenance = {"model": model_facts(model.card), "settings": settings, "run": run, "versions": versions}
    if crop is not None:
        facts["crop"] = crop
    if (step := model.card.postprocess) is not None:
        facts["postprocess"] = {"name": step.name}
        if step.model is not None:
            facts["postprocess"]["model"] = model_facts(find_model(step.model))
    return facts


def model_facts(card: ModelCard) -> ModelFacts:
    """Which model it is, for the record.

    Raises:
        ModelError: as :func:`digest_of`.
    """
    return {"id": card.id, "version": card.version, "licence": card.licence, "digest": digest_of(card)}


def digest_of(card: ModelCard) -> str:
    """SHA-256 of a model's files: as recorded at its installation, else of the files as they are now.

    Raises:
        ModelError: files are missing, cannot be read, or are links.
    """
    return model_digest(card.digests or file_digests(files_of(card)))


def learnt_from(card: ModelCard, *digests: str | None) -> bool:
    """Whether a model's card says that it was trained on an image.

    Args:
        digests: of the image: of its file, or of its voxels; None or empty if unknown.
    """
    told = json.dumps(card.provenance)
    return any(f'"{digest}"' in told for digest in digests if digest)


def stamp_of(card: ModelCard) -> tuple[tuple[str, str, int], ...]:
    """Another one once a model, or one that it needs, is installed again: what was loaded before is then out of date.

    Raises:
        ModelError: as :func:`~DeepSegLogic.models.find.chain`.
    """
    here = [(link.id, link.folder) for link in chain(card) if link.folder is not None]
    return tuple(
        (name, str(folder), max((f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()), default=0))
        for name, folder in here
    )


def identity(source: Path) -> dict[str, str]:
    """Name and digest of an image: of the file, or of all files in a folder, sorted by name.

    A DICOM slice stands for the folders of its series.
    """
    from ..io.dicom.series import folders_of_series
    from ..io.files import is_slice

    if source.is_file() and not is_slice(source):
        files = [source]
    else:
        folders = folders_of_series(source) if source.is_file() else [source]
        files = sorted(p for folder in folders for p in folder.rglob("*") if p.is_file())
    return {"name": source.name, "digest": file_digest(*files)}


def digest_of_all(card: ModelCard, find: Callable[[str], ModelCard | None] | None = None) -> str:
    """The digests of a model and of those that it needs.

    Args:
        find: as for :func:`~DeepSegLogic.models.find.chain`.

    Raises:
        ModelError: as :func:`digest_of` and :func:`~DeepSegLogic.models.find.chain`.
    """
    return " ".join(digest_of(link) for link in chain(card, find))
