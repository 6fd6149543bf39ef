"""The plan file: what to measure, cut and check, as JSON beside a segmentation, with the numbers once computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.label_map import LabelMap, structure_named
from ..io.files import as_path, opened
from ..util.atomic_write import atomic_path
from ..util.errors import InputError
from ..util.json_schema import faults
from ..util.json_text import is_finite, json_of
from ..util.resources import resource_path
from .cuts import Cut, Ellipsoid, Plane
from .free_surfaces import FreeSurface
from .territories import Territories

VERSION = 1
KINDS = (
    *("distances", "distance_maps", "contacts", "encasements", "diameters", "vessels"),
    *("margins", "resections", "approaches"),
)
"""What a plan can hold, each a list."""

_LARGEST = 10_000_000  # bytes


@dataclass(frozen=True)
class Plan:
    """A plan, in the format of ``Resources/Schemas/plan.schema.json``.

    Attributes:
        entries: kind, one of :data:`KINDS` → entries, as in the file.
        title: what it is about, in the user's words.
        numbers: what was computed, as in the file; None before.
    """

    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    title: str = ""
    numbers: dict[str, Any] | None = None

    def checked(self, label_map: LabelMap) -> Plan:
        """This plan with its numbers marked stale if they were not computed for this segmentation."""
        if self.numbers is None:
            return self
        stale = bool(self.numbers["stale"]) or self.numbers["digest"] != digest_of(label_map)
        return replace(self, numbers={**self.numbers, "stale": stale})

    @property
    def stale(self) -> bool:
        """Whether its numbers are marked stale, or missing."""
        return self.numbers is None or bool(self.numbers["stale"])

    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        content: dict[str, Any] = {"format": "deepseg.plan", "version": VERSION, "units": "mm"}
        content |= {"title": self.title} if self.title else {}
        content |= {kind: self.entries[kind] for kind in KINDS if self.entries.get(kind)}
        return content | ({"numbers": self.numbers} if self.numbers is not None else {})


def read_plan(path: Path | str) -> Plan:
    """Read a plan file.

    Raises:
        InputError: the file is missing, is not JSON, does not follow the schema, is not in mm, or is of a newer
            version; the message says where.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from DeepSegLogic import read_plan
        >>> path = Path(mkdtemp(), "plan.json")
        >>> head = '{"format": "deepseg.plan", "version": 1, "units": "mm", '
        >>> path.write_text(head + '"distances": [{"one": "liver_tumor", "other": "portal_vein"}]}') > 0
        True
        >>> read_plan(path).entries["distances"]
        [{'one': 'liver_tumor', 'other': 'portal_vein'}]
    """
    path = as_path(path)
    try:
        with opened(path) as file:
            text = file.read(_LARGEST + 1)
    except ValueError as error:  # a path that no file can have
        raise _bad(path, str(error)) from error
    return parse_plan(text, path)


def write_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps(plan.as_json(), indent=2, ensure_ascii=False)
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def parse_plan(text: bytes, path: Path | str) -> Plan:
    """The plan that the content of a plan file holds.

    Args:
        path: where it is from, for messages.

    Raises:
        InputError: as :func:`read_plan`.
    """
    if len(text) > _LARGEST:
        raise _bad(path, f"it has more than {_LARGEST // 10**6} MB")
    try:
        content = json_of(text)
        _validate(content, path)
    except ValueError as error:
        raise _bad(path, str(error)) from error
    except RecursionError as error:
        raise _bad(path, "it is nested too deeply") from error
    entries = {kind: content[kind] for kind in KINDS if kind in content}
    return Plan(entries, content.get("title", ""), content.get("numbers"))


def plan_in(content: dict[str, Any] | None) -> Plan | None:
    """The plan that the values of a plan file hold, as :meth:`Plan.as_json` gives them; None for None.

    Raises:
        InputError: as :func:`read_plan`.
    """
    return None if content is None else parse_plan(json.dumps(content).encode(), "The plan")


def cut_of(entry: dict[str, Any]) -> Cut:
    """The cut that an entry of a plan file describes.

    Raises:
        UsageError: it is not possible, such as a plane through three points on a line.
    """
    if entry["type"] == "ellipsoid":
        u, v, w = entry.get("axes", Ellipsoid.axes)
        return Ellipsoid(tuple(entry["center"]), tuple(entry["radii"]), (tuple(u), tuple(v), tuple(w)))
    if entry["type"] == "territories":
        marks = {name: [(r, a, s) for r, a, s in points] for name, points in entry["marks"].items()}
        return Territories(marks, entry.get("vessel"))
    if entry["type"] == "surface":
        return FreeSurface(tuple((r, a, s) for r, a, s in entry["points"]), tuple(entry["normal"]))
    if "points" in entry:
        return Plane.through(entry["points"])
    return Plane(tuple(entry["origin"]), tuple(entry["normal"]))


def structures_of(plan: Plan, label_map: LabelMap) -> set[str]:
    """The structures of a label map that a plan names, by name."""
    told = [v for entries in plan.entries.values() for entry in entries for v in entry.values()]
    flat = [name for v in told for name in (v if isinstance(v, list) else [v]) if isinstance(name, str)]
    found = (structure_named(name, label_map.structures) for name in flat)
    return {structure.name for structure in found if structure is not None}


def digest_of(label_map: LabelMap) -> str:
    """The SHA-256 of a segmentation's voxels, grid and names; the same in every file format that keeps them."""
    found = hashlib.sha256()
    grid = np.round(label_map.ijk_to_ras, 3) + 0.0  # files round; -0 is 0
    names = [[s.value, s.name] for s in label_map.structures]
    found.update(json.dumps([grid.tolist(), list(label_map.shape_kji), names]).encode())
    for layer in label_map.layers or [label_map]:
        for plane in layer.array:
            found.update(plane.astype("<u2").tobytes())
    return f"sha256:{found.hexdigest()}"


def _validate(content: Any, path: Path | str) -> None:
    if isinstance(content, dict):
        if content.get("format") == "deepseg.plan" and content.get("units", "mm") != "mm":
            raise InputError(
                f"{path} is in {content['units']!r}, not in mm.",
                'Convert its lengths and coordinates to mm, and write "units": "mm".',
                code="input.plan_units",
            )
        version = content.get("version")
        if isinstance(version, int) and version > VERSION:
            raise InputError(
                f"{path} has version {version} of the format, and this DeepSeg reads up to {VERSION}.",
                "Install a newer DeepSeg.",
                code="input.plan_version",
            )
    schema = json.loads(resource_path("Schemas", "plan.schema.json").read_text(encoding="utf-8"))
    for fault in faults(content, schema, schema):
        raise _bad(path, str(fault))
    for kind in KINDS:  # Python's JSON reads NaN and Infinity
        for number, entry in enumerate(content.get(kind, []), start=1):
            if not all(map(is_finite, _numbers(entry))):
                raise _bad(path, f"{kind} {number}: a number is not finite")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


def _bad(path: Path | str, what: str) -> InputError:
    return InputError(
        f"{path} is not a plan: {what}.",
        'Write it as {"format": "deepseg.plan", "version": 1, "units": "mm", "distances": [...]}; '
        "the schema is Resources/Schemas/plan.schema.json.",
        code="input.plan",
    )
