"""What a user draws to say where a structure is and where it is not. All coordinates are RAS in mm."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..errors import InputError
from ..resources import resource_path

Position = tuple[float, float, float]


@dataclass(frozen=True)
class Prompt:
    """What all prompts have in common.

    Attributes:
        structure: name or title of the structure that it is for, in any case.
        positive: the structure is here (True), or it is not (False).
    """

    structure: str
    positive: bool
    kind: ClassVar[str]


@dataclass(frozen=True)
class Point(Prompt):
    """One click.

    Attributes:
        ras: where.
    """

    ras: Position
    kind = "point"


@dataclass(frozen=True)
class Scribble(Prompt):
    """A stroke.

    Attributes:
        points: corners of the polyline, one at least.
        radius_mm: half the width of the stroke.
    """

    points: tuple[Position, ...]
    radius_mm: float = 2.0
    kind = "scribble"


@dataclass(frozen=True)
class Box(Prompt):
    """A box along the axes R, A and S.

    Positive: a missing part of the structure fills the middle of the box and ends inside it. Negative: nothing of
    the structure is in the box.

    Attributes:
        corners: two opposite ones.
    """

    corners: tuple[Position, Position]
    kind = "box"


@dataclass(frozen=True)
class Lasso(Prompt):
    """A closed curve in one plane, e.g. on a slice; it means all voxels that it encloses in that plane.

    Attributes:
        points: its corners, three at least.
    """

    points: tuple[Position, ...]
    kind = "lasso"


@dataclass(frozen=True)
class PromptFile:
    """What a ``prompts.json`` holds.

    Attributes:
        prompts: in the order of the file.
        locked: structures that must not change; None for all but the one that each prompt is for.
        add: names of new structures that the prompts may be for.
    """

    prompts: list[Prompt]
    locked: list[str] | None = None
    add: tuple[str, ...] = ()


def read_prompts(path: Path | str) -> PromptFile:
    """Read a ``prompts.json``; ``Resources/Schemas/prompts.schema.json`` says what it may hold.

    Raises:
        InputError: it is missing, not JSON, or not as the schema wants it; says where.
    """
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", "Check the path.", code="input.missing") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be opened ({reason}).", "Check the path.", code="input.missing") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise _bad(path, f"it is not JSON ({error})") from error
    _validate(content, path)
    prompts = [_prompt(entry) for entry in content["prompts"]]
    return PromptFile(prompts, content.get("locked"), tuple(content.get("add", ())))


def _validate(content, path: Path) -> None:
    import jsonschema

    schema = json.loads(resource_path("Schemas", "prompts.schema.json").read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if error is not None:
        raise _bad(path, f"{_place(error.absolute_path)}: {error.message}")
    for number, entry in enumerate(content["prompts"], start=1):  # Python's JSON reads NaN and Infinity
        numbers = entry["ras"] if entry["type"] == "point" else [x for point in entry["ras"] for x in point]
        if not all(map(math.isfinite, [*numbers, entry.get("radius_mm", 1.0)])):
            raise _bad(path, f"prompt {number}: a coordinate is not a finite number")


def _place(keys) -> str:
    keys = list(keys)
    if len(keys) >= 2 and keys[0] == "prompts":
        rest = "".join(f", {key}" if isinstance(key, str) else f"[{key}]" for key in keys[2:])
        return f"prompt {keys[1] + 1}{rest}"
    return " ".join(map(str, keys)) or "at the top"


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} is not a list of prompts: {what}.",
        'Write it as {"prompts": [{"structure": "liver", "type": "point", "positive": true, "ras": [x, y, z]}]}.',
        code="input.prompts",
    )


def _prompt(entry: dict) -> Prompt:
    common = entry["structure"], entry.get("positive", True)
    if entry["type"] == "point":
        return Point(*common, _position(entry["ras"]))
    points = tuple(map(_position, entry["ras"]))
    if entry["type"] == "scribble":
        return Scribble(*common, points, float(entry.get("radius_mm", Scribble.radius_mm)))
    return {"box": Box, "lasso": Lasso}[entry["type"]](*common, points)


def _position(numbers) -> Position:
    return tuple(map(float, numbers))
