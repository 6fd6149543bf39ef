"""The page's commands about why the model says so, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from DeepSegLogic.session import Sureness

INITIAL = {
    "sure_why_not": "",
    "sure_method": "gradcam",
    "sure_other": "augmentation",
    "sure_others": [],
    "sure_rows": [],
    "sure_told": "",
    "sure_overlay": "",
    "sure_visible": True,
}


class PageSureness:
    """Passes on what the user does, and shows what came of it; see :class:`DeepSegLogic.session.Sureness`.

    Args:
        state: of the page.
        work: the session and its scene.
        saying: in its context, errors are shown.
        corrected: is called when a structure was taken over, which is a correction.
    """

    def __init__(self, state, work, saying: Callable[[], AbstractContextManager[None]], corrected: Callable[[], None]):
        self._state, self._work, self._saying, self._corrected = state, work, saying, corrected
        self._sureness = work.session.sureness
        state.update(INITIAL)
        self._sureness.changed.connect(self._show)
        work.session.jobs.run_changed.connect(self._show_run)
        work.session.outcome.measurements_changed.connect(lambda _rows: self._show(self._sureness))
        state.change("sure_visible")(lambda sure_visible, **_: work.sureness.setVisible(bool(sure_visible)))
        self._show(self._sureness)

    def explain(self, method: str) -> None:
        """Explain the current structure, or else the first one found, where it is thickest."""
        found = (row["name"] for row in self._state.rows if row["found"])
        self._state.alert = None
        with self._saying():
            self._work.sureness.explain(self._state.current or next(found, ""), method)

    def ask(self, other: str) -> None:
        """Get a second opinion."""
        self._state.alert = None
        with self._saying():
            self._work.sureness.ask(other)

    def jump_to(self, structure: str) -> None:
        """Center the views where the opinions on a structure differ most."""
        self._work.sureness.jumpTo(structure)

    def take(self, structure: str) -> None:
        """Make a structure what the second opinion has."""
        self._state.alert = None
        with self._saying():
            step = self._work.sureness.take(structure)
            self._state.sure_told = "Taken over; undo it in Correct." if step else "It is the same already."
            if step:
                self._corrected()

    def _show_run(self, run) -> None:
        self._state.sure_why_not = self._sureness.why_not
        if run.task in ("explain", "second_opinion") and not run.busy:
            self._state.sure_told = run.summary if run.error is None else ""

    def _show(self, sureness: Sureness) -> None:
        self._state.sure_why_not = sureness.why_not
        self._state.sure_others = [{"title": title, "value": name} for name, title in sureness.others.items()]
        self._state.sure_overlay = sureness.overlay[2] if sureness.overlay is not None else ""
        self._state.sure_rows = [
            {
                "name": row.name,
                "title": row.title,
                "dice": f"{row.dice:.3f}",
                "ml": f"{row.differing_ml:.1f}",
                "note": f"Volumes in ml: {', '.join(f'{v:.1f}' for v in row.volumes_ml)}",
            }
            for row in sureness.rows
            if row.differs
        ]
