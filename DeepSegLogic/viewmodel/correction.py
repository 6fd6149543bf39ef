"""Corrections of a result by prompts and by hand, with one undo for both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..boxes import Slices
from ..errors import UsageError
from ..labels import LabelMap
from ..refine.history import Entry, History
from ..volume import Volume

if TYPE_CHECKING:
    from ..inference.probabilities import TopProbabilities
    from ..refine.prompts import Prompt

BY_HAND = "By hand"


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
        self.history = History(replace(label_map, array=label_map.array.copy()))
        self.locked: list[str] | None = None
        self._volume, self._probabilities = volume, probabilities
        self._told: list[tuple[Entry | None, Prompt]] = []  # the step that a prompt made, if it made one

    @property
    def label_map(self) -> LabelMap:
        """As it is now."""
        return self.history.label_map

    @property
    def made(self) -> bool:
        """Whether anything differs from the result as it came."""
        return bool(self.history.done)

    def prompt(self, prompt: Prompt) -> Entry:
        """Correct one structure; takes a fraction of a second.

        Raises:
            UsageError: nothing was to be changed; the message says why.
            InputError: the prompt lies outside of the volume.
        """
        from ..refine import refine

        found = refine(
            self.label_map, [prompt], volume=self._volume, probabilities=self._probabilities, locked=self.locked
        )
        return self._commit(prompt, found.label_map, found.changed_box, list(found.skipped.values()))

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """What to ask the worker to ``refine``, so that a model answers a prompt; without the model.

        A model goes by all that it was told of a structure: earlier prompts come along where they still hold.
        """
        now = self.label_map
        sent = replace(now, array=now.array.copy())  # the user may go on
        prompts = [*self._holding(prompt), prompt]
        return {"label_map": sent, "volume": self._volume, "prompts": prompts, "locked": self.locked}

    def answered(self, prompt: Prompt, answer: dict[str, Any], since: tuple[Entry, ...], by: str) -> Entry:
        """Take over what the worker answered to a :meth:`request`, whole or not at all.

        Args:
            since: the steps that were done when it was asked.
            by: title of the model.

        Raises:
            UsageError: nothing was to be changed, or something else was changed meanwhile.
        """
        if self.history.done != since:
            raise UsageError(
                "The segmentation was changed meanwhile, so nothing was corrected.",
                "Draw it again.",
                code="usage.changed",
            )
        box = answer["box"] and tuple(slice(*ends) for ends in answer["box"])
        return self._commit(prompt, answer["label_map"], box, answer["skipped"], f", {by}")

    def take(self, label_map: LabelMap, title: str = BY_HAND) -> Entry | None:
        """Take over what was edited elsewhere; None if nothing was."""
        return self.history.commit(title, label_map)

    def edit(
        self, structure: str, box: Slices, mask: np.ndarray, give: bool, greys: tuple[float, float] | None = None
    ) -> Entry | None:
        """Give voxels to a structure, whatever they were, or take away those that are its own; None if that is none.

        Args:
            box, mask: the voxels, see :mod:`DeepSegLogic.refine.hand`.
            give: whether they become its own; else background.
            greys: lowest and highest grey value of voxels that may change; None: of all.
        """
        value, labels = self.label_map.structure(structure).value, self.label_map.array[box].copy()
        if greys is not None:
            image = self._volume.array[box]
            mask = mask & (image >= greys[0]) & (image <= greys[1])
        labels[mask if give else mask & (labels == value)] = value if give else 0
        return self.history.put(BY_HAND, box, labels, self.label_map.structures)

    def undo(self) -> Entry | None:
        """Take the last step back."""
        return self.history.undo()

    def redo(self) -> Entry | None:
        """Do the step undone last once more."""
        return self.history.redo()

    def _commit(self, prompt: Prompt, changed: LabelMap, box: Slices | None, skipped: list[str], by: str = "") -> Entry:
        sign = "" if prompt.positive else "Not "
        title = f"{sign}{changed.structure(self._name(prompt.structure)).title}: {prompt.kind}{by}"
        entry = self.history.commit(title, changed, box)
        self._told.append((entry, prompt))
        if entry is None:
            why = next(iter(skipped), "it is so already")
            raise UsageError(f"Nothing was changed: {why}.", code="usage.no_change")
        return entry

    def _holding(self, prompt: Prompt) -> list[Prompt]:
        """Earlier prompts for a prompt's structure that were not undone, are satisfied, and do not contradict it."""
        from ..refine.seeds import overlap, seeds_of

        array, grid = self.label_map.array, (self.label_map.array.shape, self.label_map.ijk_to_ras)
        new, holding, steps = seeds_of(prompt, *grid, 1), [], (None, *self.history.done)
        for other in (p for entry, p in self._told if entry in steps and p.structure == prompt.structure):
            seeds = seeds_of(other, *grid, 1)
            there = array[seeds.box][seeds.mask] == self.label_map.structure(other.structure).value
            opposes = other.positive != prompt.positive and overlap(seeds, new)
            if (there == other.positive).all() and not opposes:
                holding.append(other)
        return holding

    def _name(self, wanted: str) -> str:
        same = {wanted.lower()}
        return next(s.name for s in self.label_map.structures if {s.name.lower(), s.title.lower()} & same)


def entry_text(entry: Entry, label_map: LabelMap) -> str:
    """What a step changed, in one line: ``"Liver: point (Liver +3.1 ml)"``."""
    titles = {s.name: s.title for s in label_map.structures}
    parts = [f"{titles.get(n, n)} {gain - loss:+.1f} ml" for n, (gain, loss) in entry.changes_ml.items()]
    return f"{entry.title} ({', '.join(parts)})"
