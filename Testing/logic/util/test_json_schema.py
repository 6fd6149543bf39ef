"""Judging JSON values by a schema, compared with the package jsonschema."""

import copy
import json
import random

import jsonschema
import pytest

from DeepSegLogic.util.json_schema import Fault, faults
from DeepSegLogic.util.resources import resource_path

AT, LINE = [1, 2.5, -3], [[0, 0, 0], [4, 5, 6]]
POINT = {"structure": "liver", "type": "point", "ras": AT}
PROMPTS = {
    "prompts": [
        POINT,
        {**POINT, "positive": False},
        *({**POINT, "type": kind, "ras": LINE} for kind in ("scribble", "box")),
        {**POINT, "type": "scribble", "ras": LINE, "radius_mm": 3},
        {**POINT, "type": "lasso", "ras": [*LINE, AT]},
    ],
    "locked": ["spleen"],
    "add": ["lesion"],
}
CUTS = [
    {"type": "plane", "origin": AT, "normal": [0, 0, 1]},
    {"type": "plane", "points": [*LINE, AT]},
    {"type": "ellipsoid", "center": AT, "radii": [9, 9, 9], "axes": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
    {"type": "surface", "points": [*LINE, AT, [7, 8, 9]], "normal": [0, 0, 1]},
    {"type": "territories", "vessel": "portal_vein", "marks": {"a": [AT], "b": LINE}},
]
PLAN = {
    "format": "deepseg.plan",
    "version": 1,
    "units": "mm",
    "title": "Trial",
    "distances": [{"one": "a", "other": "b"}],
    "margins": [{"structure": "a", "mm": 10}],
    "resections": [{"organ": "liver", "cuts": CUTS, "removed": [1]}],
}
STRANGE = (None, True, 0, 1, 1.0, -1, 2.5, 10**6, "", "a", "point", "plane", [], [1, 2], AT, LINE, {}, {"type": "box"})
DOCUMENTS = [("prompts", PROMPTS), ("plan", PLAN)]


def schema_of(name):
    return json.loads(resource_path("Schemas", f"{name}.schema.json").read_text("utf-8"))


def places(value, place=()):
    """All places in a JSON value."""
    yield place
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*place, key))


def changed(document, chance):
    """A document in which one thing is replaced, removed, added or doubled, at any depth."""
    document = copy.deepcopy(document)
    *way, last = chance.choice([place for place in places(document) if place])
    holder = document
    for key in way:
        holder = holder[key]
    match chance.randrange(4):
        case 0:
            holder[last] = copy.deepcopy(chance.choice(STRANGE))
        case 1:
            del holder[last]
        case 2 if isinstance(holder, dict):
            holder[chance.choice(("radius_mm", "positive", "points", "normal", "more"))] = chance.choice(STRANGE)
        case _ if isinstance(holder, list):
            holder.extend(copy.deepcopy(holder) * chance.choice((1, 100)))
    return document


@pytest.mark.parametrize(("name", "document"), DOCUMENTS)
def test_documents_are_judged_as_by_jsonschema(name, document):
    schema, chance, judged = schema_of(name), random.Random(0), []
    theirs = jsonschema.Draft202012Validator(schema)
    theirs.check_schema(schema)
    assert not list(faults(document, schema, schema))
    for _ in range(240):
        trial = changed(document, chance)
        ours = next(faults(trial, schema, schema), None) is None
        assert ours == theirs.is_valid(trial), trial
        judged.append(ours)
    assert 20 < sum(judged) < 220


@pytest.mark.parametrize("value", [*STRANGE, False])
def test_whole_documents_of_another_kind_are_refused(value):
    for name, _ in DOCUMENTS:
        assert list(faults(value, schema_of(name), schema_of(name)))


@pytest.mark.parametrize("schema", [{"oneOf": [{"minimum": 3}, {"type": "string"}, {"maximum": 4}]}, {"const": 1}])
def test_alternatives_and_constants_are_judged_as_by_jsonschema(schema):
    for value in (2, 3.5, 5, "a", True, 1.0, 1, None):
        expected = jsonschema.Draft202012Validator(schema).is_valid(value)
        assert (not list(faults(value, schema, schema))) == expected, value


def test_a_fault_tells_its_place():
    schema = schema_of("plan")
    (fault,) = faults(
        {**PLAN, "margins": [{"structure": "a", "mm": 10}, {"structure": "a", "mm": "b"}]}, schema, schema
    )
    assert fault == Fault(("margins", 1, "mm"), "b does not have the type number")
    assert str(fault) == "margins 2 mm: b does not have the type number"
    assert str(next(faults([], schema, schema))) == "[] does not have the type object"
