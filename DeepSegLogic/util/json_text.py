"""JSON that somebody else wrote: what is wrong with it, in words for a message."""

from __future__ import annotations

import json
import math
from typing import Any


def json_of(content: bytes) -> Any:
    """The value that JSON text in UTF-8 holds; a byte order mark, as Windows writes it, is allowed.

    Raises:
        ValueError: what is wrong with it, as in "it is not JSON (line 2: …)".

    Example:
        >>> json_of(b'{"a": 1}')
        {'a': 1}
        >>> json_of(b"PNG" + bytes([0x89]))
        Traceback (most recent call last):
        ValueError: it is not a text file in UTF-8
    """
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is not a text file in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise ValueError("it holds a number that is too long") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_finite(number: float) -> bool:
    """Whether a number can be computed with: Python's JSON reads NaN, Infinity and whole numbers of any length."""
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False
