"""Numbers in English text, with their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .words import SPELLED

Span = tuple[int, int]
"""Start and stop in a text."""

_UNITS = (
    ("ml", 1.0, r"m[lL]|millilit(?:er|re)s?|cc|cm³|cm3|cm\^3|cubic centimet(?:er|re)s?"),
    ("ml", 1000.0, r"[lL]|lit(?:er|re)s?"),
    ("ml", 0.001, r"mm³|mm3|mm\^3|cubic millimet(?:er|re)s?"),
    ("mm²", 1.0, r"mm²|mm2|mm\^2|square millimet(?:er|re)s?"),
    ("mm²", 100.0, r"cm²|cm2|cm\^2|square centimet(?:er|re)s?"),
    ("mm", 1.0, r"mm|millimet(?:er|re)s?"),
    ("mm", 10.0, r"cm|centimet(?:er|re)s?"),
    ("%", 1.0, r"%|percent|per cent"),
    ("HU", 1.0, r"HU|Hounsfield units?"),
    ("°", 1.0, r"°|degrees?"),
    ("days", 1.0, r"days?"),
    ("days", 7.0, r"weeks?"),
)
_UNIT = "|".join(f"(?P<u{n}>{pattern})" for n, (_, _, pattern) in enumerate(_UNITS))
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[+−–-]\s?|\bminus )?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u2009\u202f ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|[¼-¾⅐-⅞⁰-₉²³¹])"
    r"(?P<power>[eE][+-]?\d+\b)?"
    rf"(?:[\s-]?(?:{_UNIT})(?![\w²³^]))?"
)
_WORD = "|".join([*SPELLED, "hundred", "thousand", "million", "dozen"])
_SPELLED = re.compile(rf"\b(?:{_WORD})(?:(?:[\s-]| and | point )(?:{_WORD}))*\b(?:[\s-]?(?:{_UNIT})(?![\w²³^]))?", re.I)
_TOGETHER = re.compile(r"\s*(?:to|and|or|by|x|×|[-–→,/])\s*(?:at least |≥ ?)?")
_MOST_OFF = 0.05


@dataclass(frozen=True)
class Number:
    """A number in a text.

    Attributes:
        span: of the number with its unit.
        value: in ``unit``; None if it is written in a way that cannot be compared.
        unit: ml, mm², mm, %, HU, ° or days; empty without one.
        step: value of a one in its last digit: it is rounded to half of that.
        signed: whether it is written with a sign.
        factor: of its unit as written, to ``unit``.
    """

    span: Span
    value: float | None
    unit: str
    step: float
    signed: bool
    factor: float = 1.0

    def is_rounded(self, other: float) -> bool:
        """Whether it is a rounded ``other``: to its last digit, and by at most 5 %."""
        if self.value is None:
            return False
        off = abs(self.value - other)
        return off <= self.step / 2 + 1e-9 * abs(other) and off <= _MOST_OFF * abs(other)


def numbers_in(text: str, skip: Iterable[Span] = ()) -> list[Number]:
    """All numbers in a text, in their order: digits, and numbers in words beyond a bare "one".

    Args:
        skip: spans that are names, such as "Vertebra L1".

    Example:
        >>> from DeepSegLogic.drafting.numbers import numbers_in
        >>> [(n.value, n.unit) for n in numbers_in("1,503.4 ml, 12 × 8 mm and −850 HU")]
        [(1503.4, 'ml'), (12.0, 'mm'), (8.0, 'mm'), (-850.0, 'HU')]
    """
    taken = list(skip)
    found = [n for n in (*_digits(text), *_spelled(text)) if not any(_overlap(n.span, s) for s in taken)]
    return _with_shared_units(text, sorted(found, key=lambda n: n.span))


def _digits(text: str) -> Iterator[Number]:
    for match in _NUMBER.finditer(text):
        written = re.sub(r"[,\s]", "", match["digits"])
        unit, factor = _unit_of(match)
        try:
            value = None if match["power"] else float(written) * factor
        except ValueError:  # a fraction or a superscript
            value = None
        sign = match["sign"] or ""
        minus = sign.strip() not in ("", "+")
        step = 10.0 ** -len(written.partition(".")[2]) * factor
        yield Number(match.span(), -value if minus and value is not None else value, unit, step, bool(sign), factor)


def _spelled(text: str) -> Iterator[Number]:
    for match in _SPELLED.finditer(text):
        unit, factor = _unit_of(match)
        words = match.group().split()
        first = words[0].lower()
        if first == "one" and len(words) == 1 and not unit:
            continue  # "this one"
        alone = len(words) == (2 if unit else 1) and first in SPELLED
        yield Number(
            (match.start(), match.end()), SPELLED[first] * factor if alone else None, unit, factor, False, factor
        )


def _unit_of(match: re.Match[str]) -> tuple[str, float]:
    for n, (unit, factor, _) in enumerate(_UNITS):
        if match[f"u{n}"]:
            return unit, factor
    return "", 1.0


def _with_shared_units(text: str, numbers: Sequence[Number]) -> list[Number]:
    """Numbers without a unit take that of the next one in "12 × 8 mm", "10 to 15 mm", "150 and 160 ml"."""
    shared = list(numbers)
    for n in range(len(shared) - 2, -1, -1):
        one, following = shared[n], shared[n + 1]
        if not one.unit and following.unit and _TOGETHER.fullmatch(text[one.span[1] : following.span[0]]):
            factor = following.factor
            value = None if one.value is None else one.value * factor
            shared[n] = replace(one, value=value, unit=following.unit, step=one.step * factor, factor=factor)
    return shared


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
