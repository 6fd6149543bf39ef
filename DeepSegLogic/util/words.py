"""Small parts of sentences."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "case"), counted(2, "case")
        ('1 case', '2 cases')
    """
    return f"{count} {noun}{'s' * (count != 1)}"
