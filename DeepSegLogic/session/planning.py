"""The plan of a result: entries with their numbers, cuts that can be moved, and one undo history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.label_map import LabelMap, Structure
from ..refinement.undo import Entry
from ..util.errors import UsageError
from ..util.i18n import tr as _
from .correction import Correction
from .jobs import Jobs
from .planned import Planned, Steps, with_numbers

if TYPE_CHECKING:
    from ..planning import Organ, Plan, Resection
    from ..review.measurements import Measurement


class Planning:
    """What is planned on one result. An entry joins the plan once its numbers are there, so a failure changes nothing.

    Distances, margins and the like are computed by the worker, as the long task; resections at once, so that they
    follow a plane that is dragged. Parts that became structures of the result count as the organ that they were.

    Args:
        jobs: asks the worker.
        correction: of the result. Edits made elsewhere must be taken over before a call here.
        changed: is called with this object when its entries changed, or whether they hold.

    Attributes:
        entries: in the order in which they were added.
        title: of the plan, in the user's words.
    """

    def __init__(self, jobs: Jobs, correction: Correction, changed: Callable[[Planning], None]) -> None:
        self.entries: tuple[Planned, ...] = ()
        self.title = ""
        self._jobs, self._correction, self._changed = jobs, correction, changed
        self._done: list[tuple[Planned, ...]] = []
        self._undone: list[tuple[Planned, ...]] = []
        self._applied: list[Entry] = []  # steps of the correction that made parts
        self._organ: tuple[str, Steps, Organ] | None = None  # the one that was cut last
        self._digest: tuple[Steps, str] | None = None
        self._joined: tuple[tuple[list[str], Steps], LabelMap] | None = None

    # --- what it says --------------------------------------------------------------------------------------------

    @property
    def label_map(self) -> LabelMap:
        """The result as it is now, with its parts joined to the organs that they were."""
        return self._whole_organs(_divided(self.entries))

    def structures(self, measurements: Iterable[Measurement]) -> list[Structure]:
        """Those that an entry can name, by title: found in the result, and organs in place of their parts."""
        empty = {row.name for row in measurements if not row.voxels}
        return sorted((s for s in self.label_map.structures if s.name not in empty), key=lambda s: s.title)

    def whole(self, name: str) -> str:
        """The organ of a part that the plan made; any other structure is itself."""
        from ..planning import is_part

        organ = next((organ for organ in _divided(self.entries) if is_part(name, organ)), None)
        return name if organ is None or any(s.name == name for s in self.label_map.structures) else organ

    def holds(self, planned: Planned) -> bool:
        """Whether the numbers of an entry are those of the result as it is now."""
        return planned.since == self._steps

    @property
    def stale(self) -> bool:
        """Whether an entry no longer holds."""
        return not all(map(self.holds, self.entries))

    @property
    def can_undo(self) -> bool:
        """Whether a step can be undone."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether a step that was undone can be redone."""
        return bool(self._undone)

    def as_plan(self) -> Plan:
        """The plan with its numbers, as for a file."""
        from ..planning import Plan, digest_of

        if self._digest is None or (self._digest[0] != self._steps and not self.stale):
            self._digest = self._steps, digest_of(self.label_map)  # takes a moment; stale numbers are of none anyway
        numbers: dict[str, Any] = {"digest": self._digest[1], "stale": self.stale}
        entries: dict[str, list[dict[str, Any]]] = {}
        for planned in self.entries:
            entries.setdefault(planned.kind, []).append(planned.entry)
            numbers.setdefault(planned.kind, []).append(planned.numbers)
        return Plan(entries, self.title, numbers if entries else None)

    # --- what the worker computes --------------------------------------------------------------------------------

    def add(self, kind: str, entry: dict[str, Any]) -> None:
        """Start to compute an entry, which then joins the plan.

        Raises:
            UsageError: it is there already, or a task is running.
        """
        if any((planned.kind, planned.entry) == (kind, entry) for planned in self.entries):
            raise UsageError(_("The plan has this already."), _("Choose other structures."), code="usage.plan")
        self._compute(self.label_map, [(kind, entry)], lambda found: (*self.entries, *found))

    def recompute(self) -> None:
        """Start to compute all numbers again.

        Raises:
            UsageError: the plan is empty, or a task is running.
        """
        if not self.entries:
            raise UsageError(_("The plan is empty."), _("Add a measurement or a plane."), code="usage.empty")
        before = self.entries
        self._compute(
            self.label_map,
            [(planned.kind, planned.entry) for planned in before],
            lambda found: found if self.entries is before else self.entries,
        )

    def take(self, plan: Plan) -> None:
        """Go on with a plan in place of this one. Numbers that were made for this result are kept; else they are
        computed, and this plan stays until they are there.

        Raises:
            UsageError: a task is running.
        """
        entries = [(kind, entry) for kind, of_kind in plan.entries.items() for entry in of_kind]
        known = with_numbers(plan, self._steps)
        whole = self._whole_organs(_divided([*self.entries, *(known or ())]))
        if known is not None and not plan.checked(whole).stale:
            self.title = plan.title
            self._put(known)
        else:
            self._compute(whole, entries, lambda found: found, plan.title)

    def resume(self, plan: Plan) -> bool:
        """Show a plan that was saved with this result, perhaps with its parts as structures. Its numbers are stale if
        the result is another one.

        Returns:
            Whether it has all numbers; else nothing changes.
        """
        known = with_numbers(plan, None)
        if known is None:
            return False
        if not plan.checked(self._whole_organs(_divided(known))).stale:
            known = tuple(replace(planned, since=self._steps) for planned in known)
        self.title, self.entries = plan.title, known
        self._changed(self)
        return True

    def _compute(
        self, whole: LabelMap, wanted: Sequence[tuple[str, dict[str, Any]]], join: Any, title: str | None = None
    ) -> None:
        from ..planning.plan_file import KINDS

        entries = {kind: [e for k, e in wanted if k == kind] for kind in KINDS}
        steps = self._steps

        def answered(answer: dict[str, Any]) -> None:
            numbers, shapes = ({k: iter(v) for k, v in of.items()} for of in (answer["numbers"], answer["shapes"]))
            found = [Planned(k, e, next(numbers[k]), steps, next(shapes.get(k, iter(())), None)) for k, e in wanted]
            self.title = self.title if title is None else title
            self._jobs.run.warnings += answer["notes"]
            self._put(join(tuple(found)))

        self._jobs.start("plan", "plan", answered, label_map=whole, entries={k: v for k, v in entries.items() if v})

    def write_pictures(self, folder: Path, preset: str, written: Callable[[list[Path]], None]) -> None:
        """Start to write pictures of the result and the plan into a folder.

        Args:
            preset: see :func:`~DeepSegLogic.results.plan_pictures.write_pictures`.
            written: is called with the files once they are there.

        Raises:
            UsageError: a task is running.
        """
        self._jobs.start(
            "pictures",
            "plan_pictures",
            lambda answer: written([Path(path) for path in answer["files"]]),
            label_map=self.label_map,
            entries=self.as_plan().entries,
            folder=str(folder),
            preset=preset,
        )

    # --- resections ----------------------------------------------------------------------------------------------

    def divide(self, organ: str, cut: dict[str, Any]) -> int:
        """Add a cut to the resection of an organ, or begin one; returns the place of the entry.

        Args:
            organ: its name.
            cut: as in a plan file.

        Raises:
            DeepSegError: it cannot be cut.
        """
        at = next((n for n, p in enumerate(self.entries) if p.kind == "resections" and p.numbers["organ"] == organ), -1)
        if at < 0:
            new = self._resected({"organ": organ, "cuts": [cut], "removed": [1]})
            self._put((*self.entries, new))
            return len(self.entries) - 1
        entry = self.entries[at].entry
        self._replace(at, self._resected({**entry, "cuts": [*entry["cuts"], cut]}))
        return at

    def try_cut(self, at: int, number: int, cut: dict[str, Any]) -> Resection:
        """The volumes if the cut ``number`` of an entry were this one; nothing changes. Raises as :meth:`divide`."""
        return self._cut(self._with_cut(at, number, cut))

    def move_cut(self, at: int, number: int, cut: dict[str, Any]) -> None:
        """Replace the cut ``number`` of an entry; raises as :meth:`divide`."""
        entry = self._with_cut(at, number, cut)
        if entry != self.entries[at].entry:
            self._replace(at, self._resected(entry))

    def remove_cut(self, at: int, number: int) -> None:
        """Take the cut ``number`` out of a resection, with the whole entry if it was the only one."""
        cuts = [cut for n, cut in enumerate(self.entries[at].entry["cuts"]) if n != number]
        if cuts:
            self._replace(at, self._resected({**self.entries[at].entry, "cuts": cuts, "removed": [1]}))
        else:
            self.remove(at)

    def set_removed(self, at: int, parts: Collection[int]) -> None:
        """Choose the parts of a resection that are taken out, by number."""
        self._replace(at, self._resected({**self.entries[at].entry, "removed": sorted(parts)}))

    def make_parts(self) -> Entry | None:
        """Make the parts of all resections structures of the result, as a step of its corrections; None without any.

        Raises:
            UsageError: there is no resection, or no label values are left.
        """
        from ..planning import Organ
        from ..planning.plan_file import cut_of

        wanted = [planned for planned in self.entries if planned.kind == "resections"]
        if not wanted:
            raise UsageError(_("The plan has no resection."), _("Add a plane first."), code="usage.plan")
        made = self.label_map
        for planned in wanted:
            made = Organ(made, planned.numbers["organ"]).divided([cut_of(cut) for cut in planned.entry["cuts"]])
        step = self._correction.take(made, _("Parts of the plan"))
        if step is not None:
            self._applied.append(step)
        return step

    # --- all entries ---------------------------------------------------------------------------------------------

    def remove(self, at: int) -> None:
        """Take an entry out of the plan."""
        self._put((*self.entries[:at], *self.entries[at + 1 :]))

    def undo(self) -> bool:
        """Undo the last step of the plan; whether there was one."""
        return self._step(self._done, self._undone)

    def redo(self) -> bool:
        """Redo the step that was undone last; whether there was one."""
        return self._step(self._undone, self._done)

    def look(self) -> None:
        """The result was corrected: tell who shows the plan."""
        if self.entries:
            self._changed(self)

    def _whole_organs(self, organs: list[str]) -> LabelMap:
        """The result as it is now, with the parts of organs joined."""
        from ..planning import joined

        state = organs, self._correction.history.done
        if self._joined is None or self._joined[0] != state:
            found = replace(self._correction.label_map)  # the correction gives its own other structures
            for organ in organs:
                found = joined(found, organ)
            self._joined = state, found
        return self._joined[1]

    @property
    def _steps(self) -> Steps:
        """The corrections made so far; making parts corrects nothing."""
        return tuple(step for step in self._correction.history.done if not any(step is a for a in self._applied))

    def _put(self, entries: Iterable[Planned]) -> None:
        self._done.append(self.entries)
        self._undone.clear()
        self.entries = tuple(entries)
        self._changed(self)

    def _replace(self, at: int, planned: Planned) -> None:
        self._put((*self.entries[:at], planned, *self.entries[at + 1 :]))

    def _step(self, source: list[tuple[Planned, ...]], target: list[tuple[Planned, ...]]) -> bool:
        if not source:
            return False
        target.append(self.entries)
        self.entries = source.pop()
        self._changed(self)
        return True

    def _with_cut(self, at: int, number: int, cut: dict[str, Any]) -> dict[str, Any]:
        entry = self.entries[at].entry
        return {**entry, "cuts": [cut if n == number else c for n, c in enumerate(entry["cuts"])]}

    def _resected(self, entry: dict[str, Any]) -> Planned:
        from ..planning.evaluation import as_json

        return Planned("resections", entry, as_json(self._cut(entry)), self._steps)

    def _cut(self, entry: dict[str, Any]) -> Resection:
        from ..planning import Organ
        from ..planning.plan_file import cut_of

        name, steps = entry["organ"], self._steps
        if self._organ is None or self._organ[:2] != (name, steps):
            self._organ = name, steps, Organ(self.label_map, name)
        return self._organ[2].cut([cut_of(cut) for cut in entry["cuts"]], entry.get("removed", [1]))


def _divided(entries: Iterable[Planned]) -> list[str]:
    """The names of organs that have a resection; an entry of a file may give a title or label value instead."""
    return [planned.numbers["organ"] for planned in entries if planned.kind == "resections"]
