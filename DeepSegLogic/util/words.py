"""Small parts of sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from .errors import UsageError


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "case"), counted(2, "case")
        ('1 case', '2 cases')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


Listed: TypeAlias = Callable[[Sequence[str]], str]
"""How a sentence lists names: :func:`all_of` or :func:`some_of` them."""


def all_of(names: Sequence[str]) -> str:
    """The names of a list.

    Example:
        >>> all_of(["Liver", "Spleen", "Aorta", "Heart"])
        'Liver, Spleen, Aorta, Heart'
    """
    return ", ".join(names)


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are.

    Example:
        >>> some_of(["Liver", "Spleen"]), some_of(["Liver", "Spleen", "Aorta", "Heart", "Colon"])
        ('Liver, Spleen', 'Liver, Spleen, Aorta and 2 more')
    """
    more = len(names) - most
    return all_of(names[:most]) + (f" and {more} more" if more > 0 else "")


def number_text(number: float, digits: int = 0) -> str:
    """A number without a minus before zero.

    Example:
        >>> number_text(-0.2), number_text(-0.2, 1)
        ('0', '-0.2')
    """
    return f"{round(float(number), digits) + 0.0:.{digits}f}"


def minus_text(number: float, spec: str = "g") -> str:
    """A number for people to read, with a minus sign instead of a hyphen, and none before zero.

    Example:
        >>> minus_text(-1024), minus_text(-0.2, ".0f"), minus_text(2.5)
        ('−1024', '0', '2.5')
    """
    text = f"{number:{spec}}"
    return (text if float(text) else text.removeprefix("-")).replace("-", "−")


def place_text(ras: Iterable[float], digits: int = 0) -> str:
    """The coordinates of a place, separated by commas, as commands take them.

    Example:
        >>> place_text([84.2, -0.3, -290])
        '84, 0, -290'
    """
    return ", ".join(number_text(x, digits) for x in ras)


def anatomical_place_text(ras: Sequence[float]) -> str:
    """A place by the patient's sides, counted from the origin, as 3D Slicer shows it.

    Example:
        >>> anatomical_place_text([84.2, -0.3, -290])
        'R 84.2 P 0.3 I 290.0 mm'
    """
    letters = (sides[x > 0] for sides, x in zip(("LR", "PA", "IS"), ras, strict=True))
    return " ".join(f"{letter} {abs(x):.1f}" for letter, x in zip(letters, ras, strict=True)) + " mm"


def size_text(number: int | None) -> str:
    """Bytes for people; ``"?"`` where unknown."""
    if number is None:
        return "?"
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if unit == "GB" else f"{number / size:.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


def check_list(names: object) -> None:
    """Check that names are in a list: of a text, each letter would count as a name.

    Raises:
        UsageError: it is a text.
    """
    if isinstance(names, str):
        raise UsageError(f"{names!r} is a text, not a list of names.", f"Give [{names!r}].", code="usage.names")


def signed_text(number: float, spec: str = ".1f") -> str:
    """A change with its sign.

    Example:
        >>> signed_text(3.14), signed_text(-20.7), signed_text(-0.04)
        ('+3.1', '−20.7', '+0.0')
    """
    text = f"{number:+{spec}}"
    return (text if float(text) else text.replace("-", "+")).replace("-", "−")


def change_text(ml: float) -> str:
    """A change of a volume with its sign; one of a few voxels is not rounded to nothing.

    Example:
        >>> change_text(3.14), change_text(-0.0019), change_text(0)
        ('+3.1 ml', '−0.002 ml', '+0.0 ml')
    """
    return f"{signed_text(ml, '.1f' if abs(ml) >= 0.05 or ml == 0 else '.1g')} ml"
