"""The page's draft of a report by the language model that the server's user set up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from DeepSegLogic.session import Drafting


class PageDraft:
    """Passes on what the user does, and shows the draft. The page cannot choose where the model is.

    Args:
        state: of the page.
        work: the session and its scene.
        saying: in its context, errors are shown.
    """

    def __init__(self, state, work, saying: Callable[[], AbstractContextManager[None]]):
        self._state, self._work, self._saying = state, work, saying
        self._drafting = work.session.drafting
        self._drafting.changed.connect(self.show)
        state.update({"draft_text": "", "draft_notes": []})
        self.show(self._drafting)
        with saying():
            self._drafting.look_up()

        @state.change("draft_text")
        def _(draft_text, **_):
            self._drafting.edit(draft_text)

    def show(self, drafting: Drafting) -> None:
        """Another draft, or none; what a person changes stays as typed."""
        draft, endpoint = drafting.draft, drafting.endpoint
        state = self._state
        state.draft_offered = endpoint is not None
        state.draft_model = f"{endpoint.model} at {endpoint.host}. {endpoint.warning}" if endpoint else ""
        state.drafted = draft is not None
        state.draft_mark = draft.mark if draft else ""
        state.draft_notes = list(draft.notes) if draft else []
        state.draft_unknown = "; ".join(draft.unknown) if draft else ""
        if draft is None or not draft.edited:
            state.draft_text = draft.text if draft else ""

    def write(self) -> None:
        """Let the model draft the report."""
        self._state.alert = None
        with self._saying():
            self._drafting.write(self._work.labelMap())
