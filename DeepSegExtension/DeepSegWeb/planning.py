"""Planning on the page: what its buttons do, and what they show."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from DeepSegLib.planLabels import PlanLabels
from DeepSegLib.planLook import PlanLook, pictureOf

from DeepSegLogic.planning import read_plan
from DeepSegLogic.planning.looks import PRESETS
from DeepSegLogic.planning.texts import Line
from DeepSegLogic.session import Planned, Planning

from .scene import PageScene

POLL_S = 0.08
STALE = "The result was changed: numbers marked with ? no longer hold. Recompute them."
HINTS = {
    "": "",
    "branch": "Click along the branch in the slices, then press End branch.",
    "path": "Click the entry in a slice, then the target.",
}
INITIAL = {"plan_other": None, "plan_mm": 10, "plan_spare": False, "plan_rows": [], "plan_told": "", "plan_undo": False}
INITIAL |= {"plan_redo": False, "plan_along": False, "plan_drawn": "", "plan_hint": ""}
INITIAL |= {"plan_offered": [], "plan_current": ""}
INITIAL |= {"plan_look": None, "plan_clip": False, "plan_bar": False}


class PagePlan:
    """The page's Plan part.

    Args:
        state: of the page.
        scene: with the session on it, whose ``plan`` shows lines, planes and margins in the views.
        saying: shows errors of what is done within.
        corrected: is called when parts became structures, which is a correction.
        written: is called with the folder of pictures that were written, to be offered for download.
        folder: makes a new, empty folder for them.
    """

    def __init__(
        self,
        state,
        scene: PageScene,
        saying: Callable[[], AbstractContextManager[None]],
        corrected: Callable[[], None],
        written: Callable[[Path], None],
        folder: Callable[[], Path],
    ):
        self.state, self._scene, self.work, self._saying = state, scene, scene.work, saying
        self._corrected, self._written, self._folder = corrected, written, folder
        self._look = PlanLook(self.work)
        views = scene.app.view_manager
        PlanLabels(
            self.work,
            lambda: [view.renderer() for view in views.get_threed_views()],
            lambda: [(view.renderer(), view.get_view_node()) for view in views.get_slice_views()],
        )
        self._outcome = self.work.session.outcome
        state.update(INITIAL)
        self._outcome.plan_changed.connect(self._show)
        self._outcome.measurements_changed.connect(self._offer)
        self.work.plan.moving.connect(self._show_moving)
        self.work.plan.refused.connect(self._refuse)
        self.work.plan.placing.drawing.connect(
            lambda what: state.update({"plan_drawn": what, "plan_hint": HINTS[what]})
        )

        @state.change("current")
        def _(**_):
            state.plan_current = self._current

        @state.change("plan_look")
        def _(plan_look, **_):
            if plan_look:
                state.solid = 1.0
                self._shown_by(self._look.apply, plan_look)

        @state.change("plan_clip")
        def _(plan_clip, **_):
            self._shown_by(self._look.clip, plan_clip)

        @state.change("plan_bar")
        def _(plan_bar, **_):
            self._shown_by(self._look.setScaleBar, plan_bar)

    def distance(self, other: str) -> None:
        """Measure the smallest distance of the current structure to another one."""
        self._add("distances", {"one": self._current, "other": other})

    def diameters(self) -> None:
        """Measure the longest diameter of the current structure, and the longest across it."""
        self._add("diameters", {"structure": self._current})

    def margin(self, mm: Any, other: str | None, spare: bool) -> None:
        """Grow the current structure by mm, maybe without another one."""
        with self._anew():
            entry: dict[str, Any] = {"structure": self._current, "mm": float(mm or 0)}
            self._add("margins", entry | ({"keep": [other]} if spare and other else {}))

    def distance_map(self, other: str) -> None:
        """Color the surface of the current structure by its distance to another one."""
        self._add("distance_maps", {"one": self._current, "other": other})

    def vessel(self) -> None:
        """Measure the diameters of the current structure, a vessel, along its center line."""
        self._add("vessels", {"structure": self._current})

    def cut(self, kind: str) -> None:
        """Cut the current structure by a plane, an ellipsoid or a surface that can be dragged."""
        plan = self.work.plan
        with self._anew():
            {"plane": plan.addPlane, "ellipsoid": plan.addEllipsoid, "surface": plan.addSurface}[kind](self._current)

    def draw(self, what: str, other: str | None, along: bool) -> None:
        """Draw a branch or a path by clicks in the views, or end that."""
        placing = self.work.plan.placing
        begins = placing.drawn != what
        with self._anew():
            placing.stop()
            if begins and what == "branch":
                placing.branch(self._current, other if along else None)
            elif begins:
                placing.path([other] if other else [])

    def look(self, view: str) -> None:
        """Turn the 3D view."""
        self._shown_by(self._look.look, view)

    def picture(self) -> str:
        """The 3D view as PNG, in base64, for the clipboard of the browser."""
        (view,) = self._scene.app.view_manager.get_threed_views()
        return base64.b64encode(pictureOf(view.render_window())).decode("ascii")

    def pictures(self, preset: str | None) -> None:
        """Write pictures from all standard views, and a turntable; the download starts when they are there."""
        with self._anew():
            plan, folder = self.work.plan.planning, self._folder()
            plan.write_pictures(folder, preset or next(iter(PRESETS)), lambda _paths: self._written(folder))

    def set_removed(self, at: int, parts: list[int]) -> None:
        """Choose the parts of a resection that are taken out."""
        with self._anew():
            self.work.plan.planning.set_removed(at, parts)

    def remove(self, at: int) -> None:
        """Take an entry out of the plan."""
        with self._anew():
            self.work.plan.planning.remove(at)

    def undo(self) -> None:
        """Undo the last step of the plan."""
        with self._anew():
            self.work.plan.planning.undo()

    def redo(self) -> None:
        """Redo the step of the plan that was undone last."""
        with self._anew():
            self.work.plan.planning.redo()

    def recompute(self) -> None:
        """Compute all numbers again."""
        with self._anew():
            self.work.plan.planning.recompute()

    def make_parts(self) -> None:
        """Make the parts of all resections structures of the result."""
        with self._anew():
            step = self.work.plan.makeParts()
            self.state.plan_told = "The parts are structures of the result." if step else "They are structures already."
            if step:
                self._corrected()

    def jump_to(self, at: int) -> None:
        """Center the views on an entry."""
        self.work.plan.jumpTo(self._outcome.planning.entries[at])

    async def receive(self, source: Path) -> None:
        """Open an uploaded plan file; returns when its numbers are there, or it failed."""
        plan = await asyncio.to_thread(read_plan, source)
        with self.state:
            self.state.alert = None
            self.work.plan.planning.take(plan)
        while self.work.session.jobs.run.busy:
            await asyncio.sleep(POLL_S)

    def _shown_by(self, change: Callable[[Any], None], value: Any) -> None:
        with self._saying():
            change(value)
            self._scene.redraw()

    def _anew(self) -> AbstractContextManager[None]:
        """Takes the error of an earlier command away, and shows those of what is done within."""
        self.state.alert = None
        return self._saying()

    @property
    def _current(self) -> str:
        """The structure to plan with: the page's current one, or the organ that it is a part of.

        The server knows it first: a press on a name may still be on its way back to the page that presses a button.
        """
        planning, name = self._outcome.planning, self.state.current
        return planning.whole(name) if planning is not None else name

    def _offer(self, _changed: Any = None) -> None:
        """Say what an entry can name."""
        planning = self._outcome.planning
        found = planning.structures(self._outcome.measurements) if planning is not None else []
        self.state.plan_offered = [{"title": structure.title, "value": structure.name} for structure in found]
        self.state.plan_current = self._current
        if self.state.plan_other not in (structure.name for structure in found):
            self.state.plan_other = None

    def _add(self, kind: str, entry: dict[str, Any]) -> None:
        with self._anew():
            self.work.plan.planning.add(kind, entry)

    def _show(self, planning: Planning | None) -> None:
        entries = planning.entries if planning is not None else ()
        holds = [self.work.plan.holds(planned) for planned in entries]
        rows = zip(range(len(entries)), entries, holds, strict=True)
        self.state.plan_rows = [self._row(*row) for row in rows]
        self.state.plan_told = "" if all(holds) else STALE
        self.state.plan_undo = planning is not None and planning.can_undo
        self.state.plan_redo = planning is not None and planning.can_redo
        self._offer()  # a part is a structure once its resection is gone
        self._scene.redraw()

    def _row(self, at: int, planned: Planned, holds: bool) -> dict[str, Any]:
        line, mark = self.work.plan.line(planned), "" if holds else " ?"
        parts = planned.numbers["parts"] if planned.kind == "resections" else [{}] * len(line.details)
        return {
            "at": at,
            "title": line.title,
            "value": line.value + mark,
            "notes": " ".join(line.notes),
            "cuts": planned.kind == "resections",
            "removed": [part["number"] for part in parts if part.get("removed")],
            "details": [
                {"title": detail.title, "value": detail.value + mark, "number": part.get("number")}
                for detail, part in zip(line.details, parts, strict=True)
            ],
        }

    def _show_moving(self, line: Line) -> None:
        """A plane is dragged."""
        self.state.plan_told = "; ".join(f"{one.title}: {one.value}" for one in (line, *line.details))
        self._scene.redraw()

    def _refuse(self, error: Exception) -> None:
        with self._saying():
            raise error
