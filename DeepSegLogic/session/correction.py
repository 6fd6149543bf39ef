"""Corrections of a result by prompts and by hand, with one undo history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.boxes import Slices
from ..data.label_map import LabelMap, known_structure
from ..data.volume import Volume
from ..refinement.layers import editable
from ..refinement.undo import Entry, History
from ..util.errors import UsageError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from ..util.lazy import import_ahead
from ..util.words import change_text
from .drawn import NAMES, check_drawn

if TYPE_CHECKING:
    from ..data.probabilities import TopProbabilities
    from ..refinement.prompts import Prompt
    from ..refinement.proposal import Proposal

BY_HAND = N_("By hand")


def expect_corrections() -> None:
    """A result will be there soon: import meanwhile what the first correction needs."""
    import_ahead("DeepSegLogic.refinement.solver", "SimpleITK")


class Correction:
    """The corrected label map of one result.

    Args:
        label_map: the result; it is copied.
        volume: the image that it was made from.
        probabilities: of the run, if they were kept.

    Attributes:
        history: the steps so far.
        locked: names of structures that no prompt may change; None: all but the one a prompt is for.
    """

    def __init__(self, label_map: LabelMap, volume: Volume, probabilities: TopProbabilities | None = None):
        self.history = History(editable(label_map))
        self.locked: list[str] | None = None
        self._volume, self._probabilities = volume, probabilities
        self._told: list[tuple[Entry | None, Prompt]] = []  # the step that a prompt made, if it made one
        self._last: tuple[Entry, Proposed] | None = None  # the last step by the solver
        self._proposed: Proposed | None = None  # the last one

    @property
    def label_map(self) -> LabelMap:
        """The labels as they are now."""
        return self.history.label_map

    @property
    def made(self) -> bool:
        """Whether anything was corrected."""
        return bool(self.history.done)

    def propose(self, prompt: Prompt) -> Proposed:
        """What a prompt would change; nothing changes yet, and it takes a fraction of a second. What marks the same
        voxels as the prompt before is not solved again.

        Raises:
            UsageError: nothing would change; the message says why.
            InputError: the prompt lies outside of the volume.
        """
        from ..refinement import propose
        from ..refinement.rasterise import mark_the_same

        check_drawn(prompt, self.label_map, others=self.locked is not None)
        now, known, last = self.label_map, self._probabilities, self._proposed
        since = self.history.done, None if self.locked is None else tuple(self.locked)
        grid = now.array.shape, now.ijk_to_ras
        if last is not None and last.since == since and mark_the_same(last.prompt, prompt, *grid):
            return replace(last, prompt=prompt)
        try:
            found = propose(now, prompt, volume=self._volume, probabilities=known, locked=self.locked)
        except UsageError as error:
            if error.code == "usage.no_change":
                self._told.append((None, prompt))  # a model is to know it all the same
            raise
        self._proposed = Proposed(prompt, found, replace(now, structures=found.structures), since)
        return self._proposed

    def accept(self, proposed: Proposed, reach: float = 1.0) -> Entry:
        """Apply what was proposed, if nothing else was changed since.

        Args:
            reach: see :class:`~DeepSegLogic.refinement.proposal.Proposal`.
        """
        found = proposed.proposal
        target = next(s for s in found.structures if s.value == found.target)
        labels = self.history.labels(target, found.region)
        labels[found.at(reach)] = found.value
        entry = self.history.put(proposed.title, found.region, labels, found.structures, target)
        assert entry is not None  # a proposal has at least one voxel
        self._told.append((entry, proposed.prompt))
        self._last = entry, proposed
        return entry

    def adjust(self, reach: float) -> Entry | None:
        """Apply the last prompt again at another reach; None if something else was done since, or nothing is."""
        if self._last is None or not self.history.done or self.history.done[-1] is not self._last[0]:
            return None
        self.history.undo()
        self._told.pop()
        return self.accept(self._last[1], reach)

    def prompt(self, prompt: Prompt, reach: float = 1.0) -> Entry:
        """Correct one structure: :meth:`propose` and :meth:`accept` at once."""
        return self.accept(self.propose(prompt), reach)

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """What to ask the worker to ``refine``, so that a model answers a prompt; without the model.

        A model sees all prompts for a structure: earlier ones are included where they still hold.

        Raises:
            UsageError, InputError: the prompt cannot correct anything; the message says why.
        """
        check_drawn(prompt, self.label_map, others=self.locked is not None)
        prompts = [*self._holding(prompt), prompt]
        return {"label_map": self.label_map, "volume": self._volume, "prompts": prompts, "locked": self.locked}

    def answered(self, prompt: Prompt, answer: dict[str, Any], since: tuple[Entry, ...], by: str) -> Entry:
        """Take over what the worker answered to a :meth:`request`, whole or not at all.

        Args:
            since: the steps that were done when it was asked.
            by: title of the model.

        Raises:
            UsageError: nothing changed, or something else was changed in the meantime.
        """
        if self.history.done != since:
            raise UsageError(
                _("The segmentation was changed in the meantime, so nothing was corrected."),
                _("Draw it again."),
                code="usage.changed",
            )
        box = answer["box"] and tuple(slice(*ends) for ends in answer["box"])
        changed = answer["label_map"]
        entry = self.history.commit(f"{_step_title(prompt, changed)}, {by}", changed, box)
        self._told.append((entry, prompt))
        if entry is None:
            why = next(reversed(answer["skipped"].values()), _("the result already agrees with it"))
            raise UsageError(_("Nothing changed: {}.").format(why), code="usage.no_change")
        return entry

    def take(self, label_map: LabelMap, title: str = "") -> Entry | None:
        """Take over what was edited elsewhere; None if nothing was."""
        return self.history.commit(title or _(BY_HAND), label_map)

    def edit(
        self,
        structure: str,
        box: Slices,
        mask: np.ndarray,
        give: bool,
        greys: tuple[float, float] | None = None,
        title: str = "",
    ) -> Entry | None:
        """Give voxels to a structure, or take away those that are its own; None if that is none.

        Where structures overlap, those of other layers stay.

        Args:
            box, mask: the voxels, see :mod:`DeepSegLogic.refinement.editing_tools`.
            give: whether they become its own; else background.
            greys: lowest and highest grey value of voxels that may change; None: of all.
            title: of the step; empty for one that was made by hand.
        """
        target = self.label_map.structure(structure)
        value, labels = target.value, self.history.labels(target, box)
        if greys is not None:
            image = self._volume.array[box]
            mask = mask & (image >= greys[0]) & (image <= greys[1])
        labels[mask if give else mask & (labels == value)] = value if give else 0
        return self.history.put(title or _(BY_HAND), box, labels, self.label_map.structures, target)

    def undo(self) -> Entry | None:
        """Undo the last step; None if there is none."""
        return self.history.undo()

    def redo(self) -> Entry | None:
        """Redo the step undone last; None if there is none."""
        return self.history.redo()

    def _holding(self, prompt: Prompt) -> list[Prompt]:
        """Earlier prompts for a prompt's structure that were not undone, are satisfied, and do not contradict it."""
        from ..refinement.rasterise import overlap, seeds_of

        grid = self.label_map.array.shape, self.label_map.ijk_to_ras
        new, holding, steps = seeds_of(prompt, *grid, 1), [], (None, *self.history.done)
        for other in (p for entry, p in self._told if entry in steps and p.structure == prompt.structure):
            seeds = seeds_of(other, *grid, 1)
            target = self.label_map.structure(other.structure)
            there = self.history.labels(target, seeds.box)[seeds.mask] == target.value
            opposes = other.positive != prompt.positive and overlap(seeds, new)
            if (there == other.positive).all() and not opposes:
                holding.append(other)
        return holding


@dataclass(frozen=True, eq=False)
class Proposed:
    """What a prompt would change.

    Attributes:
        prompt: that it was found for.
        proposal: the voxels, at any reach.
        label_map: before the change, with the structure that the prompt adds.
        since: the steps that were done when it was found, and the locked structures.
    """

    prompt: Prompt
    proposal: Proposal
    label_map: LabelMap
    since: tuple[tuple[Entry, ...], tuple[str, ...] | None]

    @property
    def title(self) -> str:
        """Of the step, for the user."""
        return _step_title(self.prompt, self.label_map)

    def text(self, reach: float = 1.0) -> str:
        """What would change, in one line: ``"Liver: point (+3.1 ml)"``."""
        return f"{self.title} ({change_text(self.proposal.ml(reach) * (1 if self.prompt.positive else -1))})"


def entry_text(entry: Entry, label_map: LabelMap) -> str:
    """What a step changed, in one line: ``"Liver: point (Liver +3.1 ml)"``."""
    titles = {s.name: s.title for s in label_map.structures}
    parts = [f"{titles.get(n, n)} {change_text(gain - loss)}" for n, (gain, loss) in entry.changes_ml.items()]
    return f"{entry.title} ({', '.join(parts)})"


def _step_title(prompt: Prompt, label_map: LabelMap) -> str:
    title = known_structure(prompt.structure, label_map.structures).title
    return (_("{structure}: {kind}") if prompt.positive else _("{structure}, remove: {kind}")).format(
        structure=title, kind=_(NAMES[prompt.kind])
    )
