"""Every kind of a plan in words."""

from dataclasses import replace

import numpy as np
import pytest

from DeepSegLogic.planning import Plan, evaluate_plan
from DeepSegLogic.planning.texts import lines

from .scenes import ball, cylinder, scene


def test_each_kind_says_its_numbers():
    shapes = {"liver": ball((0, 0, 0), 18), "vein": cylinder(4, 25), "tumor": ball((10, 0, 0), 4)}
    organs = scene(np.diag([1.0, 1.0, 1.5, 1.0]), shapes, 22)[0]
    cut = {"type": "ellipsoid", "center": [22, 22, 22], "radii": [5, 5, 5]}
    entries = {
        "distances": [{"one": "tumor", "other": "vein"}],
        "contacts": [{"one": "vein", "other": "liver"}, {"one": "vein", "other": "tumor", "within_mm": 4}],
        "encasements": [{"tumor": "tumor", "vessel": "vein", "within_mm": 4}],
        "diameters": [{"structure": "tumor"}],
        "vessels": [{"structure": "vein"}],
        "distance_maps": [{"one": "tumor", "other": "vein"}],
        "margins": [{"structure": "tumor", "mm": 3}],
        "resections": [{"organ": "liver", "cuts": [cut]}],
        "approaches": [{"entry": [42, 22, 22], "target": [32, 22, 22], "spare": ["vein"]}],
    }
    numbers = evaluate_plan(Plan(entries), organs).plan.numbers
    titles = {s.name: s.title for s in organs.structures}
    found = [lines(kind, one, titles) for kind in entries for one in numbers[kind]]
    assert [line.title for line in found] == [
        "Tumor – Vein",
        "Vein, touching Liver",
        "Vein, within 4 mm of Tumor",
        "Tumor around Vein",
        "Tumor, diameters",
        "Vein, along its center line",
        "Surface of Tumor, distance to Vein",
        "Tumor, margin 3 mm",
        "Liver, remnant",
        "Straight path",
    ]
    distance, *_, margin, resection, path = found
    assert distance.value == f"{numbers['distances'][0]['distance_mm']:.1f} mm"
    assert distance.notes == ("Vein is cut by the border of the volume.",)
    assert [line.title for line in margin.details] == ["Inside: Liver", "Inside: Vein"]
    assert [line.title for line in resection.details] == ["Part 1, removed", "Part 2"]
    assert sum(float(line.value.split()[0]) for line in resection.details) == pytest.approx(
        numbers["resections"][0]["whole_ml"], abs=1
    )
    assert resection.value == f"{resection.details[1].value}" and "≥" not in resection.value
    assert path.value == "10.0 mm" and path.details[-1].title == "To Vein"


def test_a_volume_that_the_border_cuts_is_a_lower_bound():
    organs = scene(np.eye(4), {"liver": ball((0, 0, 0), 18)}, 22)[0]
    organs.array[:8] = 0  # so that the liver begins at the first slice that is left
    shown = replace(organs, array=organs.array[8:])
    plane = {"type": "plane", "origin": [22, 22, 22], "normal": [0, 0, 1]}
    entries = {"margins": [{"structure": "liver", "mm": 2}], "resections": [{"organ": "liver", "cuts": [plane]}]}
    numbers = evaluate_plan(Plan(entries), shown).plan.numbers
    margin, resection = (lines(kind, numbers[kind][0], {}) for kind in entries)
    assert margin.value == f"≥ {numbers['margins'][0]['ml']:.1f} ml"
    assert resection.value == resection.details[1].value and resection.value.startswith("≥ ")
    assert not resection.details[0].value.startswith("≥")
    earlier = {key: value for key, value in numbers["margins"][0].items() if key != "cut"}
    assert lines("margins", earlier, {}).value == margin.value[2:]  # of a plan that does not tell
