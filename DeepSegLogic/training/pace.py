"""How long a training goes on: for a number of steps, or for as many as fit in a time."""

from __future__ import annotations

import time

_FOREVER = 10**9  # steps, until the speed is known
_MEASURED = 5  # steps after which it is; the first one is slower and does not count


class Pace:
    """Counts steps and seconds, with a clock that is fine enough for one step also on Windows.

    Args:
        steps: of the training; None to go by ``seconds``.
        seconds: of the training, those of earlier runs included; None for no limit.
    """

    def __init__(self, steps: int | None, seconds: float | None):
        self.step, self.steps = 0, _FOREVER if steps is None else steps
        self._by_time, self._seconds = steps is None, seconds
        self._before, self._started = 0.0, time.perf_counter()
        self._first: tuple[int, float] | None = None

    def resume(self, step: int, steps: int, seconds: float) -> None:
        """Go on after an earlier run."""
        self.step, self._before = step, seconds
        if self._by_time and step < steps:  # else it is longer now than it was
            self.steps = steps

    @property
    def elapsed(self) -> float:
        """Seconds, those of earlier runs included."""
        return self._before + time.perf_counter() - self._started

    @property
    def is_done(self) -> bool:
        """Whether all steps are done, or the time is over."""
        return self.step >= self.steps or (self._seconds is not None and self.elapsed >= self._seconds)

    def count(self) -> None:
        """Count a step."""
        self.step += 1
        if self._first is None:
            self._first = self.step, time.perf_counter()
        elif self.step - self._first[0] == _MEASURED:
            self.plan()

    def plan(self) -> None:
        """Of a training that goes by time, plan the steps that still fit in."""
        each = self._step_seconds()
        if self._by_time and self._seconds is not None and each is not None:
            self.steps = self.step + max(0, int((self._seconds - self.elapsed) / each))

    def told(self) -> tuple[float, str]:
        """The part that is done, and in words how far it is and how long it still takes."""
        if self.steps == _FOREVER:
            return 0.0, f"step {self.step}"
        each = self._step_seconds()
        left = f", {duration((self.steps - self.step) * each)} left" if each is not None else ""
        return min(self.step / max(self.steps, 1), 1.0), f"step {self.step} of {self.steps}{left}"

    def _step_seconds(self) -> float | None:
        if self._first is None or self.step == self._first[0]:
            return None
        return (time.perf_counter() - self._first[1]) / (self.step - self._first[0])


def duration(seconds: float) -> str:
    """A time to wait, in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
