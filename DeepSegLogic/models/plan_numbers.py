"""Numbers in plans by others, which may be text, missing or impossible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_LARGEST = 3.4e38  # of float32, which networks compute with


def number(value: Any, name: str, low: float = -_LARGEST, high: float = _LARGEST) -> float:
    """A number from ``low`` to ``high``; text that is one counts as well.

    Raises:
        ValueError: it is none; the message names it.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not low <= found <= high:
        raise ValueError(f"{name} = {_shown(value)}")
    return found


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; see :func:`number`."""
    found = number(value, name, low, high)
    if not found.is_integer():
        raise ValueError(f"{name} = {_shown(value)}")
    return int(found)


def numbers(values: Any, name: str, lengths: Sequence[int] = (2, 3)) -> list[Any]:
    """A list with one entry per axis.

    Raises:
        ValueError: it is none; the message names it.
    """
    if not isinstance(values, list | tuple) or len(values) not in lengths:
        counts = " or ".join(map(str, lengths))
        raise ValueError(f"{name} = {_shown(values)} (supported: {counts} numbers, one for each of the axes)")
    return list(values)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
