"""The page's commands for learning from corrections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

PLACE = "the data folder of the server"


class Learning:
    """Passes on what the user does; see :class:`DeepSegLogic.session.Adaptation`.

    Args:
        state: of the page.
        work: the session and its scene.
        saying: in its context, errors are shown.
    """

    def __init__(self, state, work, saying: Callable[[], AbstractContextManager[None]]):
        self._state, self._work, self._saying = state, work, saying
        self._adaptation = work.session.adaptation

    def ask(self) -> None:
        """Ask for the consent that :meth:`collect` needs."""
        self._state.alert = None
        with self._saying():
            self._state.collecting = self._adaptation.question(self._work.labelMap(), PLACE)

    def collect(self) -> None:
        """Keep a copy of the corrected result."""
        self._state.collecting = ""
        with self._saying():
            self._adaptation.collect(self._work.labelMap())

    def remove(self, digest: str) -> None:
        """Delete a collected case; the page has asked."""
        self._state.alert = None
        with self._saying():
            self._adaptation.remove(digest)

    def learn(self, minutes: float | str | None) -> None:
        """Start to learn, for as long as the last time if the page's field is empty."""
        self._state.alert = None
        with self._saying():
            self._adaptation.minutes = min(max(int(minutes or self._adaptation.minutes), 1), 1440)
            self._adaptation.learn()

    def accept(self) -> None:
        """Use the new version."""
        self._state.alert = None
        with self._saying():
            self._adaptation.accept()

    def discard(self) -> None:
        """Delete the new version; the page has asked."""
        self._state.alert = None
        with self._saying():
            self._adaptation.discard()

    def back(self) -> None:
        """Use the version again that the model was made from."""
        self._state.alert = None
        with self._saying():
            self._adaptation.go_back()
