"""A typed signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Slot = Callable[[T], object]


class Signal(Generic[T]):
    """Calls every connected function with the new value, in the thread that emits.

    Example:
        >>> changed: Signal[int] = Signal()
        >>> changed.connect(print)
        >>> changed.emit(3)
        3
    """

    def __init__(self) -> None:
        self._slots: list[Slot[T]] = []

    def connect(self, slot: Slot[T]) -> None:
        """Call ``slot`` from now on."""
        self._slots.append(slot)

    def disconnect(self, slot: Slot[T]) -> None:
        """Stop calling ``slot``; no error if it was never connected."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, value: T) -> None:
        """Call all of them. An exception of one is raised after the others were called."""
        _call_all(list(self._slots), value)


def _call_all(slots: list[Slot[T]], value: T) -> None:
    if slots:
        try:
            slots[0](value)
        finally:  # an exception of a later one carries this one as its context
            _call_all(slots[1:], value)
