"""What can compute a correction: DeepSeg's solver, or an installed model that takes prompts."""

from __future__ import annotations

from dataclasses import dataclass

from .models import ModelEntry


@dataclass(frozen=True)
class Corrector:
    """One line of the list.

    Attributes:
        id: of the model; empty for the solver.
        title: in plain words.
        note: what to know at each use; empty for the solver.
    """

    id: str
    title: str
    note: str = ""


SOLVER = Corrector("", "DeepSeg's solver")


class Correctors:
    """The list to choose from.

    Args:
        entries: all models.

    Attributes:
        all: the solver, then the installed models that take prompts.
        chosen: one of them.
        notice: why it is the solver, though a model had been chosen; else empty.
    """

    def __init__(self, entries: list[ModelEntry]):
        self.chosen, self.notice = SOLVER, ""
        self.refresh(entries)

    @property
    def text(self) -> str:
        """What to know about the choice, in one line; may be empty."""
        return self.notice or self.chosen.note

    def refresh(self, entries: list[ModelEntry]) -> None:
        """Models came or went."""
        cards = [entry.card for entry in entries if entry.installed and entry.card.takes_prompts]
        self.all = [SOLVER, *(Corrector(card.id, card.title, f"Licence: {card.licence}.") for card in cards)]
        if self.chosen not in self.all:
            self.choose(self.chosen.id)

    def choose(self, model_id: str) -> None:
        """Choose by id. Where there is no such model any more, the solver is chosen, with a notice."""
        self.chosen, self.notice = next((c for c in self.all if c.id == model_id), SOLVER), ""
        if self.chosen.id != model_id:
            self.notice = f"The model {model_id} is no longer installed. DeepSeg's solver corrects instead."
