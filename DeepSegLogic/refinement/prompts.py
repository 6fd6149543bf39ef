"""Prompts: what a user draws to mark where a structure is, or is not. All coordinates are RAS in mm."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ..io.files import as_path, opened
from ..util.errors import InputError, UsageError
from ..util.json_schema import faults
from ..util.json_text import is_finite, json_of
from ..util.resources import resource_path

Position: TypeAlias = tuple[float, float, float]
"""A point in RAS, mm."""


@dataclass(frozen=True)
class Prompt:
    """What all prompts have in common.

    Attributes:
        structure: name or title of the structure to correct, in any case.
        positive: the structure is here (True), or is not here (False).
        kind: the word for this kind of prompt in files and messages.
    """

    structure: str
    positive: bool
    kind: ClassVar[str]


@dataclass(frozen=True)
class Point(Prompt):
    """A click; it marks the voxel at this point.

    Attributes:
        ras: the point.
    """

    ras: Position
    kind = "point"

    def __post_init__(self) -> None:
        _check_positions(self, [self.ras])


@dataclass(frozen=True)
class Scribble(Prompt):
    """A stroke; it marks all voxels within ``radius_mm`` of a polyline.

    Attributes:
        points: vertices of the polyline, at least one.
        radius_mm: half the width of the stroke.
    """

    points: tuple[Position, ...]
    radius_mm: float = 2.0
    kind = "scribble"

    def __post_init__(self) -> None:
        _check_positions(self, self.points)


@dataclass(frozen=True)
class Box(Prompt):
    """A box along the axes R, A and S.

    A positive box marks its middle voxel, and the correction does not leave the box: draw it around a missing part.
    A negative box marks all voxels in it: no part of the structure is there.

    Attributes:
        corners: two opposite corners.
    """

    corners: tuple[Position, Position]
    kind = "box"

    def __post_init__(self) -> None:
        _check_positions(self, self.corners, "two corners", 2)


@dataclass(frozen=True)
class Lasso(Prompt):
    """A closed curve in one plane, such as a slice; it marks all voxels that it encloses in that plane.

    Attributes:
        points: vertices of the curve, at least three.
    """

    points: tuple[Position, ...]
    kind = "lasso"

    def __post_init__(self) -> None:
        _check_positions(self, self.points)


def _check_positions(prompt: Prompt, positions: Iterable[Position], what: str = "positions", count: int = 0) -> None:
    """Check what scripts give.

    Raises:
        UsageError: there are none, or not ``count`` of them, or a position is not three finite numbers.
    """
    given = list(positions) if isinstance(positions, Iterable) else []
    if len(given) != (count or len(given)) or not given:
        raise UsageError(
            f"A {prompt.kind} needs {what}, not {positions!r}.", "Give [(R, A, S), …] in mm.", code="usage.point"
        )
    for position in given:
        try:
            if len(position) == 3 and all(map(is_finite, position)):
                continue
        except TypeError:  # no sequence, or not of numbers
            pass
        raise UsageError(
            f"A position of a {prompt.kind} is {position!r}, not three finite numbers.",
            "Give (R, A, S) in mm.",
            code="usage.point",
        )


@dataclass(frozen=True)
class PromptFile:
    """The content of a ``prompts.json``, for :func:`~DeepSegLogic.refinement.refine`.

    Attributes:
        prompts: in the order of the file.
        locked: structures that must not change; None: all except the prompt's own.
        add: names of new structures that prompts may create.
    """

    prompts: list[Prompt]
    locked: list[str] | None = None
    add: tuple[str, ...] = ()


def read_prompts(path: Path | str) -> PromptFile:
    """Read a ``prompts.json``, in the format of ``Resources/Schemas/prompts.schema.json``.

    Raises:
        InputError: the file is missing, is not JSON, or does not follow the schema; the message says where.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp(), "prompts.json")
        >>> click = '{"structure": "liver", "type": "point", "positive": true, "ras": [61.0, 20.5, 310.0]}'
        >>> path.write_text('{"prompts": [' + click + ']}') > 0
        True
        >>> read_prompts(path).prompts
        [Point(structure='liver', positive=True, ras=(61.0, 20.5, 310.0))]
    """
    path = as_path(path)
    try:
        with opened(path) as file:
            content = json_of(file.read())
    except ValueError as error:
        raise _bad(path, str(error)) from error
    return prompts_from_json(content, path)


def prompts_from_json(content: Any, source: Path | str) -> PromptFile:
    """Prompts as JSON values, see :func:`read_prompts`.

    Args:
        source: what messages say they come from.

    Raises:
        InputError: they do not follow the schema; the message says where.
    """
    try:
        _validate(content, source)
    except RecursionError as error:
        raise _bad(source, "it is nested too deeply") from error
    prompts = [_prompt(entry) for entry in content["prompts"]]
    return PromptFile(prompts, content.get("locked"), tuple(content.get("add", ())))


def prompts_to_json(prompts: Iterable[Prompt]) -> list[dict[str, Any]]:
    """Prompts as the entries of a ``prompts.json``.

    Example:
        >>> prompts_to_json([Point("liver", True, (1.0, 2.0, 3.0))])
        [{'structure': 'liver', 'type': 'point', 'positive': True, 'ras': [1.0, 2.0, 3.0]}]
    """
    entries = []
    for prompt in prompts:
        entry = {"structure": prompt.structure, "type": prompt.kind, "positive": prompt.positive}
        if isinstance(prompt, Point):
            places: list[Any] = [float(x) for x in prompt.ras]
        else:
            assert isinstance(prompt, Scribble | Box | Lasso)
            points = prompt.corners if isinstance(prompt, Box) else prompt.points
            places = [[float(x) for x in point] for point in points]
        radius = {"radius_mm": prompt.radius_mm} if isinstance(prompt, Scribble) else {}
        entries.append({**entry, "ras": places, **radius})
    return entries


def _validate(content: Any, path: Path | str) -> None:
    schema = json.loads(resource_path("Schemas", "prompts.schema.json").read_text(encoding="utf-8"))
    for fault in faults(content, schema, schema):
        raise _bad(path, f"{_place(fault.place)}: {fault.what}")
    for number, entry in enumerate(content["prompts"], start=1):  # Python's JSON reads NaN and Infinity
        numbers = entry["ras"] if entry["type"] == "point" else [x for point in entry["ras"] for x in point]
        if not all(map(is_finite, [*numbers, entry.get("radius_mm", 1.0)])):
            raise _bad(path, f"prompt {number}: a coordinate is not a finite number")


def _place(path: Iterable[str | int]) -> str:
    """Where in the file a JSON path is, in words."""
    keys = list(path)
    if len(keys) >= 2 and keys[0] == "prompts":
        rest = "".join(f", {key}" if isinstance(key, str) else f"[{key}]" for key in keys[2:])
        return f"prompt {int(keys[1]) + 1}{rest}"
    return " ".join(map(str, keys)) or "at the top"


def _bad(path: Path | str, what: str) -> InputError:
    return InputError(
        f"{path} is not a list of prompts: {what}.",
        'Write it as {"prompts": [{"structure": "liver", "type": "point", "positive": true, "ras": [x, y, z]}]}.',
        code="input.prompts",
    )


def _prompt(entry: dict[str, Any]) -> Prompt:
    common = entry["structure"], entry.get("positive", True)
    if entry["type"] == "point":
        return Point(*common, _position(entry["ras"]))
    points = tuple(map(_position, entry["ras"]))
    if entry["type"] == "scribble":
        return Scribble(*common, points, float(entry.get("radius_mm", Scribble.radius_mm)))
    if entry["type"] == "lasso":
        return Lasso(*common, points)
    one, opposite = points
    return Box(*common, (one, opposite))


def _position(numbers: Iterable[float]) -> Position:
    r, a, s = map(float, numbers)
    return r, a, s
