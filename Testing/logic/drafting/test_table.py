"""The table that a language model gets: all of our numbers, and no name."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from DeepSegLogic import (
    Endpoint,
    InputError,
    LabelMap,
    Structure,
    TimePoint,
    draft_report,
    follow_up,
    measure,
    write_follow_up,
)
from DeepSegLogic.drafting.table import table_of
from DeepSegLogic.planning import Plan, evaluate_plan, write_plan
from DeepSegLogic.review.findings import review

from .conftest import SECRETS

CUT = {"type": "plane", "origin": [16, 30, 20], "normal": [1, 0, 0]}
PLAN = Plan(
    {"distances": [{"one": "1", "other": "miller_1960"}], "resections": [{"organ": "liver", "cuts": [CUT]}]},
    title="Miller, born 1960",
)


def test_volumes_changes_distances_and_findings_are_in_it(organs):
    volume, label_map = organs
    smaller = label_map.array.copy()
    smaller[20:, :, :13] = 0
    before = TimePoint(replace(label_map, array=smaller))
    changes = follow_up(before, TimePoint(label_map)).changes
    rows = measure(label_map, volume)
    table = table_of(label_map, rows, confidence={"liver": 0.3}, plan=PLAN, changes=changes)
    told = "\n".join(table.lines)
    numbers = evaluate_plan(PLAN, label_map).plan.numbers
    assert f"Liver – Structure 1: {numbers['distances'][0]['distance_mm']:.1f} mm" in table.lines
    assert f"Liver, remnant: {numbers['resections'][0]['remnant_ml']:.0f} ml" in told
    liver = next(c for c in changes if c.name == "liver")
    assert f"Liver, since the earlier scan: {liver.sentence}" in table.lines and liver.change_percent > 10
    assert "To check: Liver has low confidence (mean 0.30)." in table.lines
    assert len([line for line in table.lines if line.startswith("To check")]) == len(review(label_map, {"liver": 0.3}))
    assert not [secret for secret in SECRETS if secret.lower() in told.lower()]
    assert table.titles == {"Liver": "Liver", "Structure 1": label_map.structures[1].title}


def test_a_structure_that_the_field_of_view_cuts_has_at_least_its_volume(organs):
    volume, label_map = organs
    array = label_map.array.copy()
    array[:, :, 0] = 1
    cut = replace(label_map, array=array)
    table = table_of(cut, measure(cut, volume))
    assert table.notes == ("Cut by the field of view, so that their volumes are lower bounds: Liver.",)
    line = table.lines[0]
    assert line.startswith("Liver: volume at least ") and "cut by the field of view" in line


def test_overlapping_structures_have_no_names_either(organs):
    volume, label_map = organs
    layers = [replace(label_map, structures=[s]) for s in label_map.structures]
    overlapping = replace(label_map, layers=layers)
    table = table_of(overlapping, measure(overlapping, volume), confidence={"miller_1960": 0.1})
    assert "To check: Structure 1 has low confidence (mean 0.10)." in table.lines
    assert not [secret for secret in SECRETS if secret.lower() in "\n".join(table.lines).lower()]


def test_of_very_many_structures_the_largest_are_told(organs):
    volume, _ = organs
    array = np.zeros(volume.array.shape, np.uint16)
    array.reshape(-1)[: 400 * 3] = np.repeat(np.arange(1, 401), 3)
    array[20:] = 400
    many = LabelMap(array, volume.ijk_to_ras, [Structure(n, f"s{n}", f"S{n}") for n in range(1, 401)])
    table = table_of(many, measure(many, volume))
    assert sum("volume" in line for line in table.lines) <= 300 + 10
    assert table.notes[0] == "The draft is about the 300 largest of 400 structures."
    assert "S400" in table.titles.values()


def test_changes_and_a_plan_from_files(result, organs, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr("DeepSegLogic.drafting.result_folder.word", lambda table, *_: sent.append(table) or _stop())
    write_follow_up(follow_up(TimePoint(organs[1]), TimePoint(organs[1])), tmp_path / "compared")
    write_plan(PLAN, tmp_path / "plan.json")
    with pytest.raises(StopIteration):
        draft_report(result, Endpoint("http://127.0.0.1:1"), plan=PLAN, changes=tmp_path / "compared")
    assert any("since the earlier scan: 24.0 ml → 24.0 ml" in line for line in sent[0].lines)
    summary = tmp_path / "compared" / "summary.json"
    good = json.loads(summary.read_text("utf-8"))
    for harm in ({"before_ml": "Miller"}, {"name": 3}, {"lesion": "Miller"}, {"kind": "Miller"}, {"cut_before": "x"}):
        bad = {**good, "changes": [{**good["changes"][0], **harm}]}
        summary.write_text(json.dumps(bad), "utf-8")
        try:
            draft_report(result, Endpoint("http://127.0.0.1:1"), changes=tmp_path / "compared")
        except InputError as error:
            assert "summary.json" in error.message
        except StopIteration:  # a text that no sentence shows
            assert "Miller" not in "\n".join(sent[-1].lines)
    summary.write_text("[]")
    with pytest.raises(InputError, match=r"summary\.json is missing or damaged"):
        draft_report(result, Endpoint("http://127.0.0.1:1"), changes=tmp_path / "compared")


def _stop():
    raise StopIteration


def test_a_damaged_table_of_measurements(result):
    (result / "measurements.csv").write_text("structure,name\nLiver\n")
    with pytest.raises(InputError, match=r"measurements\.csv is missing or damaged"):
        draft_report(result, Endpoint("http://127.0.0.1:1"))
    assert asdict(Endpoint("http://127.0.0.1:1"))["url"] == "http://127.0.0.1:1/v1"
