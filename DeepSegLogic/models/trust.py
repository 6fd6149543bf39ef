"""Models that carry program code run only after the user has said, once, that this very model is trusted."""

from __future__ import annotations

from ..errors import ModelError
from .card import ModelCard
from .digests import folder_digests, model_digest
from .store import Store

CODE_BACKENDS = {"monai": "its configuration", "torchscript": "its network file"}


def trust(card: ModelCard, store: Store | None = None) -> str:
    """Remember that the user trusts the model as its files are now; returns the digest remembered."""
    digest = model_digest(folder_digests(card.folder))
    (store or Store()).record("trusted", digest, f"{card.id}: {card.title}")
    return digest


def is_trusted(card: ModelCard, store: Store | None = None) -> bool:
    """Whether the user trusts the model as its files are now; always for formats without code."""
    if not needs_trust(card):
        return True
    return model_digest(folder_digests(card.folder)) in (store or Store()).recorded("trusted")


def needs_trust(card: ModelCard) -> bool:
    """Whether the model's files can make the computer do more than arithmetic."""
    return card.backend in CODE_BACKENDS and not card.network.get("architecture")


def require_trust(card: ModelCard) -> None:
    """Raise :class:`ModelError` unless the model may run."""
    if not is_trusted(card):
        raise ModelError(
            f"The model {card.id} was not run: {CODE_BACKENDS[card.backend]} can hold program code, "
            "and you have not said that you trust it.",
            f"If you know where it comes from, run `deepseg models trust {card.folder}` once.",
            code="model.untrusted",
        )
