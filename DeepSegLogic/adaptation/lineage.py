"""Which model an adapted one comes from, what the next version is called, and the way back."""

from __future__ import annotations

from typing import Any

from ..models.card import ModelCard
from ..models.find import find_model, is_bundled
from ..models.store import Store
from ..models.versions import kept_versions, use_version
from ..training.beginnings import check_trainable
from ..util.errors import ModelError, UsageError

MINUTES = 10
"""How long a model learns unless told otherwise."""

SUFFIX = "_adapted"


def check_can_learn(card: ModelCard) -> None:
    """Check what is known of a model without loading it.

    Raises:
        UsageError: it is not installed.
        ModelError: it cannot be trained.
    """
    if not is_bundled(card.id) and Store().folder(card.id) is None:
        raise UsageError(
            f"The model {card.id} is not installed on this computer.",
            "Import it first.",
            code="usage.not_installed",
            action="import_model",
        )
    check_trainable(card)


def adapted_facts(card: ModelCard) -> dict[str, Any]:
    """What the provenance of an adapted model says of its adaptation; empty for other models."""
    facts = card.provenance.get("adapted")
    return facts if isinstance(facts, dict) and isinstance(facts.get("original"), str) else {}


def original_of(card: ModelCard) -> str:
    """Id of the model that was there first."""
    return str(adapted_facts(card).get("original", card.id))


def learnt_before(card: ModelCard) -> set[str]:
    """Digests of the corrected cases that a model or an earlier version of it was trained on."""
    facts = adapted_facts(card)
    cases = facts.get("cases", [])
    known = [case.get("digest") for case in cases if isinstance(case, dict)] + list(facts.get("earlier_cases", []))
    return {str(digest) for digest in known}


def next_version(card: ModelCard, store: Store) -> tuple[str, str]:
    """Id and version of what a model becomes: adapted versions share one id, the model that was there first keeps its
    own.

    Raises:
        UsageError: another model has that id.
    """
    original = original_of(card)
    name = f"{original}{SUFFIX}"
    versions = kept_versions(store, name)
    if any(original_of(other) != original for other in versions):
        raise UsageError(
            f"The id {name} belongs to another model.", f"Remove or rename {name}.", code="usage.model_exists"
        )
    numbers = [int(other.version) for other in versions if other.version.isdecimal()]
    return name, str(max(numbers, default=0) + 1)


def go_back(model: str, version: str = "", store: Store | None = None) -> ModelCard:
    """Use an earlier version of an adapted model again. The present one is kept in the store.

    Args:
        model: id of an adapted model.
        version: one that is kept; by default that which the present one was made from.

    Returns:
        The card of that version. For the first one it is the model that was there before, which was never replaced.

    Raises:
        ModelError: the model was not adapted, or there is no such version.
        OutputError: the store cannot be written.

    Example:
        >>> from DeepSegLogic import ModelError, go_back
        >>> try:
        ...     go_back("ct_demo")
        ... except ModelError as error:
        ...     print(error.message)
        The model ct_demo was not adapted, so there is no earlier version.
    """
    store, card = store or Store(), find_model(model)
    if not adapted_facts(card):
        raise ModelError(
            f"The model {card.id} was not adapted, so there is no earlier version.",
            "Choose an adapted model.",
            code="model.versions",
        )
    before = card.provenance.get("began_with")
    before = before if isinstance(before, dict) else {}
    if not version and before.get("id") != card.id:
        return find_model(original_of(card))
    return use_version(store, card.id, version or str(before.get("version")))
