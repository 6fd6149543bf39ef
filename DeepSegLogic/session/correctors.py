"""Correction methods: DeepSeg's solver, or an installed model that takes prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from .model_list import ModelEntry


@dataclass(frozen=True)
class Corrector:
    """One correction method.

    Attributes:
        id: of the model; empty for the solver.
        title: in plain words.
        note: what to know at each use; empty for the solver.
    """

    id: str
    title: str
    note: str = ""


SOLVER = Corrector("", N_("DeepSeg's solver"))


@dataclass(frozen=True)
class Correctors:
    """The correction methods to choose from.

    Attributes:
        all: the solver, then the installed models that take prompts.
        chosen: one of them.
        notice: why the solver is chosen although a model was; else empty.
    """

    all: tuple[Corrector, ...] = (SOLVER,)
    chosen: Corrector = SOLVER
    notice: str = ""

    @property
    def text(self) -> str:
        """What to know about the choice, in one line; may be empty."""
        return self.notice or self.chosen.note

    def among(self, entries: Sequence[ModelEntry]) -> Correctors:
        """The same choice among the models that are there now."""
        cards = [entry.card for entry in entries if entry.installed and entry.card.takes_prompts]
        models = (Corrector(card.id, card.title, _("Licence: {}.").format(card.licence)) for card in cards)
        found = Correctors((SOLVER, *models), self.chosen, self.notice)
        return found if self.chosen in found.all else found.choosing(self.chosen.id)

    def choosing(self, model_id: str) -> Correctors:
        """The choice of a model by id. If it is not installed, the solver is chosen, with a notice."""
        chosen = next((c for c in self.all if c.id == model_id), SOLVER)
        notice = "" if chosen.id == model_id else _("The model {} is no longer installed. DeepSeg's solver is used.")
        return Correctors(self.all, chosen, notice.format(model_id))
