"""The part of JSON Schema that the schema of model cards uses.

The package jsonschema is not used: 3D Slicer does not have it, and every list of models reads cards. Tests compare the
two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

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
    "minLength": lambda value, limit: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda value, limit: not isinstance(value, str) or len(value) <= limit,
    "pattern": lambda value, limit: not isinstance(value, str) or re.search(limit, value) is not None,
    "minItems": lambda value, limit: not isinstance(value, list) or len(value) >= limit,
    "maxItems": lambda value, limit: not isinstance(value, list) or len(value) <= limit,
    "minimum": lambda value, limit: not _is(value, "number") or not value < limit,
    "maximum": lambda value, limit: not _is(value, "number") or not value > limit,
    "exclusiveMinimum": lambda value, limit: not _is(value, "number") or not value <= limit,
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "") -> Iterator[str]:
    """What is wrong with a JSON value, each with its place.

    Args:
        value: from a JSON file.
        schema: for the value.
        root: the whole schema, whose ``$defs`` are referred to.
        place: of the value, for the messages.
    """
    if "$ref" in schema:
        yield from faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, name) for name in types):
        yield f"{place}: {_short(value)} does not have the type {' or '.join(types)}".removeprefix(": ")
        return
    for name, fits in _LIMITS.items():
        if name in schema and not fits(value, schema[name]):
            yield f"{place}: {_short(value)} does not fit {name} {schema[name]}".removeprefix(": ")
    if "anyOf" in schema:
        found = [list(faults(value, option, root, place)) for option in schema["anyOf"]]
        yield from [] if [] in found else found[-1]
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value, start=1):
            yield from faults(item, schema["items"], root, f"{place} {number}".strip())
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place}: it has no {name}".removeprefix(": ")
        for name, item in value.items():
            yield from faults(item, known.get(name, other), root, f"{place} {_short(name)}".strip())


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    whole = name == "integer" and isinstance(value, float) and value.is_integer()
    return whole or isinstance(value, _TYPES[name])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"
