"""Names, colours and SNOMED CT codes of structures, from one table: ``Resources/Terminology/structures.csv``."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from colorsys import hsv_to_rgb
from dataclasses import replace
from functools import cache

from ..util.resources import resource_path
from .label_map import Code, Structure, known_structure

ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")
TISSUE = Code("SCT", "85756007", "Tissue")


def structure_for(name: str, value: int) -> Structure:
    """The structure of this name, with the given label value.

    A name that is not in the table gets a title made from it, a colour derived from it, and the unspecific code
    "Tissue".
    """
    if name in _rows():
        return replace(_known(name), value=value)
    words = name.replace("_", " ").strip() or f"label {value}"
    side = next((s for s in ("left", "right") if s in words.lower().split()), None)
    return Structure(
        value=value,
        name=name,
        title=words[0].upper() + words[1:],
        color=_color_from(name),
        category=ANATOMICAL_STRUCTURE,
        type=TISSUE,
        laterality=side,
    )


def known_names(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names of structures that are given by name or title, in any case.

    Args:
        known: names that may be given.

    Raises:
        UsageError: another one is given.
    """
    structures = [structure_for(name, value) for value, name in enumerate(known, start=1)]
    return [known_structure(name, structures).name for name in given]


def standard_structures() -> list[Structure]:
    """The 117 structures of TotalSegmentator's ``total`` task with their label values, in that order."""
    return [_known(name) for name, row in _rows().items() if row["value"]]


def known_titles() -> dict[str, str]:
    """Name → title of all structures in the table."""
    return {name: row["title"] for name, row in _rows().items()}


def tg263_name(name: str) -> str:
    """The name of a structure in the nomenclature of AAPM's Task Group 263 (2018); empty if it has none."""
    return _rows().get(name, {}).get("tg263", "")


@cache
def _rows() -> dict[str, dict[str, str]]:
    with resource_path("Terminology", "structures.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@cache
def _known(name: str) -> Structure:
    row = _rows()[name]

    def code(kind: str) -> Code | None:
        scheme, value, meaning = (row[f"{kind}_{part}"] for part in ("scheme", "code", "meaning"))
        return Code(scheme, value, meaning) if value else None

    red, green, blue = bytes.fromhex(row["color"][1:])
    return Structure(
        value=int(row["value"] or 0),
        name=name,
        title=row["title"],
        color=(red, green, blue),
        category=code("category"),
        type=code("type"),
        modifier=code("modifier"),
        laterality=row["laterality"] or None,
        body_system=row["body_system"],
        region=code("region"),
    )


def _color_from(name: str) -> tuple[int, int, int]:
    seed = hashlib.sha256(name.encode()).digest()
    rgb = hsv_to_rgb(seed[0] / 255, 0.45 + 0.3 * seed[1] / 255, 0.7 + 0.25 * seed[2] / 255)
    red, green, blue = (round(255 * c) for c in rgb)
    return red, green, blue
