"""Answers for a hand that is faster than they are."""

from __future__ import annotations

import time
from collections.abc import Callable

OUTLINE_PAUSE_S = 0.1
"""Between two outlines of what a drawing would change."""


class Newest:
    """Answers only the newest of what comes in, and always that one.

    What is asked while an answer is found, or in the pause after it, is answered together when the pause is over.

    Args:
        answer: called without arguments; it looks up what is the newest.
        later: calls a function after so many seconds, from the event loop of the face.
        pause_s: after an answer, so that the mouse is free to move.

    Attributes:
        asked: an answer is due.

    Example:
        >>> due = []
        >>> outline = Newest(lambda: print("outlined"), lambda seconds, call: due.append(call))
        >>> outline.ask()
        >>> outline.ask()
        >>> [call() for call in due]
        outlined
        [None]
    """

    def __init__(
        self, answer: Callable[[], object], later: Callable[[float, Callable[[], None]], object], pause_s: float = 0.0
    ) -> None:
        self._answer, self._later, self._pause_s = answer, later, pause_s
        self.asked = False
        self._free = 0.0  # when the pause after the last answer is over

    def ask(self) -> None:
        """Something changed."""
        if not self.asked:
            self.asked = True
            self._later(max(0.0, self._free - time.monotonic()), self._due)

    def drop(self) -> None:
        """What was asked is not wanted any more."""
        self.asked = False

    def _due(self) -> None:
        if not self.asked:
            return
        self.asked = False
        try:
            self._answer()
        finally:
            self._free = time.monotonic() + self._pause_s
