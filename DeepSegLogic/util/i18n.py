"""Translation of the texts that faces show. They are in English unless a face sets a translator."""

from __future__ import annotations

from collections.abc import Callable


def mark(text: str) -> str:
    """A text that is translated later, where it is shown; imported as ``N_``, so that templates hold it."""
    return text


_translate: Callable[[str], str] = mark


def set_translator(translate: Callable[[str], str]) -> None:
    """Use a face's own function from an English text to its translation."""
    global _translate
    _translate = translate


def tr(text: str) -> str:
    """The translation of an English text; imported as ``_``."""
    return _translate(text)
