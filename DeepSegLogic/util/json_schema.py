"""The part of JSON Schema that the schemas of DeepSeg's files use.

The package jsonschema is not used: 3D Slicer does not have it, and its import takes longer than most checks are worth.
Tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Place = tuple[str | int, ...]
"""Names and places in lists (from 0) that lead to a value."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {  # whether a value of the right type is within a limit
    "const": lambda value, limit: _same(value, limit),
    "enum": lambda value, limit: any(_same(value, one) for one in limit),
    "minLength": lambda value, limit: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda value, limit: not isinstance(value, str) or len(value) <= limit,
    "pattern": lambda value, limit: not isinstance(value, str) or re.search(limit, value) is not None,
    "minItems": lambda value, limit: not isinstance(value, list) or len(value) >= limit,
    "maxItems": lambda value, limit: not isinstance(value, list) or len(value) <= limit,
    "minProperties": lambda value, limit: not isinstance(value, dict) or len(value) >= limit,
    "maxProperties": lambda value, limit: not isinstance(value, dict) or len(value) <= limit,
    "minimum": lambda value, limit: not _is(value, "number") or not value < limit,
    "maximum": lambda value, limit: not _is(value, "number") or not value > limit,
    "exclusiveMinimum": lambda value, limit: not _is(value, "number") or not value <= limit,
}
_WORDS = {"const": "is not", "enum": "is not one of"}


class Fault(NamedTuple):
    """What is wrong with a JSON value, and where in it."""

    place: Place
    what: str

    def __str__(self) -> str:
        where = " ".join(str(key + 1) if isinstance(key, int) else _short(key) for key in self.place)
        return f"{where}: {self.what}" if where else self.what


def faults(value: Any, schema: Any, root: dict[str, Any], place: Place = ()) -> Iterator[Fault]:
    """What is wrong with a JSON value.

    Args:
        value: from a JSON file.
        schema: for the value: an object, or whether any value will do.
        root: the whole schema, whose ``$defs`` are referred to.
        place: of the value.
    """
    if isinstance(schema, bool):
        if not schema:
            yield Fault(place, "it is not expected here")
        return
    if "$ref" in schema:
        yield from faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, name) for name in types):
        yield Fault(place, f"{_short(value)} does not have the type {' or '.join(types)}")
        return
    for name, fits in _LIMITS.items():
        if name in schema and not fits(value, schema[name]):
            yield Fault(place, f"{_short(value)} {_WORDS.get(name, f'does not fit {name}')} {schema[name]}")
    yield from _combined(value, schema, root, place)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from faults(item, schema["items"], root, (*place, number))
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name in schema.get("required", ()):
            if name not in value:
                yield Fault(place, f"it has no {name}")
        for name, item in value.items():
            yield from faults(name, schema.get("propertyNames", True), root, place)
            yield from faults(item, known.get(name, other), root, (*place, name))


def _combined(value: Any, schema: dict[str, Any], root: dict[str, Any], place: Place) -> Iterator[Fault]:
    """What is wrong by the schemas that a schema is made of."""
    for part in schema.get("allOf", ()):
        yield from faults(value, part, root, place)
    if "if" in schema and next(faults(value, schema["if"], root, place), None) is None:
        yield from faults(value, schema.get("then", True), root, place)
    for kind in ("anyOf", "oneOf"):
        found = [list(faults(value, option, root, place)) for option in schema.get(kind, ())]
        if found and [] not in found:
            yield from min(reversed(found), key=len)
        elif kind == "oneOf" and found.count([]) > 1:
            yield Fault(place, "it can be read in two ways")


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    whole = name == "integer" and isinstance(value, float) and value.is_integer()
    return whole or isinstance(value, _TYPES[name])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"
