"""How long work reports where it is and learns that it was cancelled."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled

Progress = Callable[[str, float, str], None]
"""``progress(stage, fraction, message)``: stage is a short word such as ``"inference"``, fraction 0 to 1 of
that stage; called at least every half second."""

Cancel = Callable[[], bool]
"""Returns True once the user wants to stop; asked at least once per patch."""


def ignore_progress(stage: str, fraction: float, message: str) -> None:
    """The default: nobody listens."""


def never_cancel() -> bool:
    """The default: nobody cancels."""
    return False


def check(cancel: Cancel) -> None:
    """Raise :class:`Cancelled` if the user wants to stop."""
    if cancel():
        raise Cancelled()
