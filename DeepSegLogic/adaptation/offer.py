"""A version of a model that learnt from corrected cases, until the user accepts or discards it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.card import ModelCard
from ..models.files import CARD_FILE, folder_digests, read_json
from ..models.store import Store
from ..models.versions import keep_version
from ..util.atomic_write import atomic_path, cannot_write
from ..util.errors import ModelError
from .cases import NEXT, CorrectedCases
from .lineage import next_version

if TYPE_CHECKING:
    from .comparison import Row

_FACTS = f"{NEXT}.json"


@dataclass(frozen=True)
class Offer:
    """A new version, and how it compares with the one that it was made from.

    Attributes:
        folder: of the new version.
        came_from: id and version of the model that it was made from.
        rows: Dice before and after.
        notes: what to know before accepting it, one sentence each.
    """

    folder: Path
    came_from: tuple[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def accept(self, store: Store | None = None) -> ModelCard:
        """Install the new version. An adapted version that it replaces is kept, see
        :func:`~DeepSegLogic.adaptation.lineage.go_back`.

        Returns:
            Its card.

        Raises:
            ModelError: the offer is no longer there, or its files have changed.
            UsageError: its id belongs to another model.
            OutputError: the store cannot be written; the offer stays.
        """
        from ..models.import_export import import_model

        store = store or Store()
        if not (self.folder / CARD_FILE).is_file():
            raise ModelError(
                f"The new version in {self.folder} is not there any more.", "Learn again.", code="model.missing"
            )
        name, version = next_version(ModelCard.read(self.folder), store)
        present = store.find(name)
        if present is None or present.digests != folder_digests(self.folder):  # else it was accepted, but not cleared
            keep_version(store, name)
            changes = {"id": name, "version": version}
            present = import_model(self.folder, changes=changes, replace_installed=True, store=store)
            keep_version(store, name)
        self.discard()
        return present

    def discard(self) -> None:
        """Delete the new version, its checkpoints and the prepared images.

        Raises:
            OutputError: a file cannot be deleted.
        """
        clear(self.folder.parent)


def write_offer(offer: Offer) -> None:
    """Write an offer beside its folder; it is there from then on."""
    facts = {"came_from": offer.came_from, "rows": [row.as_json() for row in offer.rows], "notes": offer.notes}
    with atomic_path(offer.folder.parent / _FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1), "utf-8")


def offered(cases: CorrectedCases) -> Offer | None:
    """The offer that waits for a decision; None if there is none."""
    try:
        facts: dict[str, Any] = read_json(cases.folder / _FACTS)
        from .comparison import Row

        name, version = map(str, facts["came_from"])
        rows = tuple(map(Row.from_json, facts["rows"]))
        return Offer(cases.folder / NEXT, (name, version), rows, tuple(map(str, facts["notes"])))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def the_offer(cases: CorrectedCases) -> Offer:
    """The offer that waits for a decision.

    Raises:
        ModelError: there is none.
    """
    found = offered(cases)
    if found is None:
        raise ModelError(
            f"There is no new version of {cases.model} to decide about.", "Learn first.", code="model.no_offer"
        )
    return found


def discard(cases: CorrectedCases) -> bool:
    """Delete the offer, and what an interrupted run left; returns whether there was any of it.

    Raises:
        OutputError: a file cannot be deleted.
        UsageError: another program learns from the cases now.
    """
    if not any(cases.folder.glob(f"{NEXT}*")):
        return False
    with cases.exclusively():
        clear(cases.folder)
    return True


def clear(folder: Path) -> None:
    """Delete what was made of a new version.

    Raises:
        OutputError: a file cannot be deleted.
    """
    try:
        (folder / _FACTS).unlink(missing_ok=True)
        for place in folder.glob(f"{NEXT}*"):
            shutil.rmtree(place)
    except OSError as error:
        raise cannot_write(folder, error) from error
