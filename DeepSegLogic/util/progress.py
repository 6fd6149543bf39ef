"""Progress and cancellation of long work."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled

Progress = Callable[[str, float, str], None]
"""``progress(stage, fraction, message)``: ``stage`` is a short word such as ``"inference"``, ``fraction`` 0 to 1 of
that stage. Called at least every half second."""

Cancel = Callable[[], bool]
"""Returns True once the user wants to stop. Called at least once per window."""


def ignore_progress(stage: str, fraction: float, message: str) -> None:
    """The default: progress is ignored."""


def share(progress: Progress, start: float, stop: float, name: str = "") -> Progress:
    """Progress of a part of the work: its fractions from 0 to 1 are told as ``start`` to ``stop``, its messages with
    its name."""
    prefix = f"{name}: " if name else ""
    return lambda stage, fraction, message: progress(stage, start + fraction * (stop - start), prefix + message)


def never_cancel() -> bool:
    """The default: the work is never cancelled."""
    return False


def check(cancel: Cancel) -> None:
    """Raise :class:`Cancelled` if ``cancel`` returns True."""
    if cancel():
        raise Cancelled()
