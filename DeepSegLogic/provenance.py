"""Where a result comes from."""

from __future__ import annotations

import numpy as np

from . import __version__
from .models import Model
from .models.digests import file_digest, folder_digests, model_digest


def provenance(model: Model, settings: dict, run: str) -> dict:
    """Model, settings, what ran where (in words), and versions, as plain JSON values."""
    import torch

    from .models.nnunet import checkpoint_files

    card = model.card
    if card.backend == "nnunet" and not card.digests:
        digest = file_digest(*checkpoint_files(card.folder))  # a training's folder also holds images
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
