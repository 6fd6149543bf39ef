"""Where a result comes from."""

from __future__ import annotations

import numpy as np

from . import __version__
from .models import Model, ModelCard
from .models.digests import file_digest, folder_digests, model_digest


def provenance(model: Model, settings: dict, run: str) -> dict:
    """Model, settings, what ran where (in words), and versions, as plain JSON values."""
    import torch

    card = model.card
    facts = {
        "id": card.id,
        "version": card.version,
        "licence": card.licence,
        "digest": digest_of(card),
    }
    versions = {"deepseg": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"model": facts, "settings": settings, "run": run, "versions": versions}


def digest_of(card: ModelCard) -> str:
    """SHA-256 of a model's files, as recorded when it was installed, or as they are."""
    from .models.nnunet import checkpoint_files

    if card.backend == "nnunet" and not card.digests:
        return file_digest(*checkpoint_files(card.folder))  # a training's folder also holds images
    return model_digest(card.digests or folder_digests(card.folder))
