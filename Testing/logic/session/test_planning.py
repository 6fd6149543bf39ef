"""The plan of a result, with a real worker: numbers against the single calls, stale after corrections, undo, files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Organ, Plane
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.planning import distance, margin, parse_plan
from DeepSegLogic.refinement.layers import editable
from DeepSegLogic.refinement.prompts import Scribble
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.util.errors import DeepSegError, UsageError
from DeepSegLogic.worker import WorkerClient

from ..planning.scenes import ball, cylinder, scene
from .steps import settle

PLANE = {"type": "plane", "origin": [22.0, 22.0, 22.0], "normal": [1.0, 0.0, 0.2]}
TUMOR_VEIN = {"one": "tumor", "other": "vein"}


@pytest.fixture(scope="module")
def organs():
    shapes = {"liver": ball((0, 0, 0), 18), "vein": cylinder(4, 20), "tumor": ball((10, 0, 0), 4)}
    return scene(np.diag([1.0, 1.0, 1.5, 1.0]), shapes, 22)[0]


@pytest.fixture(scope="module")
def worker():
    session = Session()
    yield session
    session.close()


@pytest.fixture
def session(worker, organs):
    """With the organs as the result of a volume."""
    volume = Volume(np.zeros(organs.array.shape, np.int16), organs.ijk_to_ras, "Phantom", "CT")
    worker.outcome.adopt(volume, replace(organs, array=organs.array.copy()), {"model": {"id": "phantom"}})
    done(worker)
    return worker


def done(session):
    """Wait for the worker; returns the plan."""
    settle(session)
    return session.outcome.planning


def correct(session):
    """A step by hand that takes a corner of the liver away."""
    correction = session.outcome.correction
    changed = correction.label_map.array.copy()
    changed[:, :, :12][changed[:, :, :12] == 1] = 0
    correction.take(replace(correction.label_map, array=changed))
    session.outcome.measure(correction.label_map)


def test_what_is_added_has_the_numbers_of_the_single_calls(session, organs):
    told = []
    session.outcome.plan_changed.connect(told.append)
    plan = session.outcome.planning
    plan.add("distances", TUMOR_VEIN)
    assert session.jobs.run.task == "plan" and plan.entries == ()
    done(session)
    plan.add("margins", {"structure": "tumor", "mm": 5.0, "keep": ["vein"]})
    done(session)
    one, other = plan.entries
    assert told[-1] is plan and not plan.stale
    assert one.numbers["distance_mm"] == distance(organs, "tumor", "vein").distance_mm
    grown = margin(organs, "tumor", 5.0, keep=["vein"])
    assert other.numbers["ml"] == pytest.approx(grown.ml)
    points, triangles = other.shape.points, other.shape.triangles
    a, b, c = points[triangles].swapaxes(0, 1)
    enclosed = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6000
    assert enclosed == pytest.approx(grown.ml, rel=0.02)
    with pytest.raises(UsageError, match="has this already"):
        plan.add("distances", dict(TUMOR_VEIN))


def test_what_cannot_be_computed_does_not_join(session):
    plan = session.outcome.planning
    plan.divide("liver", PLANE)
    plan.add("distances", {"one": "tumor", "other": "spleen"})
    done(session)
    assert "no structure named 'spleen'" in str(session.jobs.run.error)
    assert [p.kind for p in plan.entries] == ["resections"]
    with pytest.raises(UsageError, match="normal of the plane is 0"):
        plan.move_cut(0, 0, {**PLANE, "normal": [0, 0, 0]})
    with pytest.raises(DeepSegError):
        plan.divide("spleen", PLANE)
    assert plan.entries[0].entry["cuts"] == [PLANE] and not plan.stale


def test_a_plane_that_moves_and_its_undo(session, organs):
    plan = session.outcome.planning
    assert plan.divide("liver", PLANE) == 0
    moved = {**PLANE, "origin": [27.0, 22.0, 22.0]}
    expected = Organ(organs, "liver").cut([Plane((27, 22, 22), (1, 0, 0.2))])
    before = plan.entries[0].numbers
    assert plan.try_cut(0, 0, moved) == expected and plan.entries[0].numbers is before
    plan.move_cut(0, 0, moved)
    assert plan.entries[0].numbers["remnant_ml"] == expected.remnant_ml
    plan.move_cut(0, 0, moved)  # the same place again is no step
    plan.set_removed(0, [2])
    assert plan.entries[0].numbers["remnant_ml"] == pytest.approx(expected.whole_ml - expected.remnant_ml)
    assert plan.divide("liver", {**PLANE, "normal": [0.0, 1.0, 0.0]}) == 0
    assert len(plan.entries[0].numbers["parts"]) == 4
    plan.remove(0)
    for _ in range(4):
        assert plan.undo()
    assert plan.entries[0].numbers is before
    assert plan.undo() and not plan.undo() and plan.entries == ()
    assert plan.redo() and plan.redo() and plan.entries[0].entry["cuts"] == [moved]


def test_numbers_are_stale_after_a_correction_until_they_are_computed_again(session):
    plan = session.outcome.planning
    plan.divide("liver", PLANE)
    plan.add("distances", TUMOR_VEIN)
    done(session)
    whole, told = plan.entries[0].numbers["whole_ml"], []
    session.outcome.plan_changed.connect(told.append)
    correct(session)
    assert told and plan.stale and not any(map(plan.holds, plan.entries))
    assert plan.as_plan().numbers["stale"]
    session.outcome.correction.undo()
    assert not plan.stale
    session.outcome.correction.redo()
    plan.recompute()
    done(session)
    assert not plan.stale and plan.entries[0].numbers["whole_ml"] < whole
    assert [p.kind for p in plan.entries] == ["resections", "distances"]


def test_parts_become_structures_and_the_plan_goes_on(session, organs):
    plan, correction = session.outcome.planning, session.outcome.correction
    with pytest.raises(UsageError, match="no resection"):
        plan.make_parts()
    plan.divide("liver", PLANE)
    step = plan.make_parts()
    assert step in correction.history.done and not plan.stale
    parts = {p["name"]: p["voxels"] for p in plan.entries[0].numbers["parts"]}
    assert {n: int(correction.label_map.mask(n).sum()) for n in parts} == parts
    np.testing.assert_array_equal(plan.label_map.array, organs.array)
    assert [(s.name, s.value) for s in plan.label_map.structures] == [(s.name, s.value) for s in organs.structures]
    # moved afterwards, and made again: other parts of the same organ
    plan.move_cut(0, 0, {**PLANE, "origin": [27.0, 22.0, 22.0]})
    plan.make_parts()
    moved = {p["name"]: p["voxels"] for p in plan.entries[0].numbers["parts"]}
    assert moved != parts and {n: int(correction.label_map.mask(n).sum()) for n in moved} == moved
    correction.undo()
    correction.undo()
    np.testing.assert_array_equal(correction.label_map.array, organs.array)
    assert [s.name for s in correction.label_map.structures] == ["liver", "vein", "tumor"]
    # a correction of a part makes the numbers stale
    correction.redo()
    correction.redo()
    name = max(moved, key=moved.get)
    k, j, i = np.argwhere(correction.label_map.mask(name))[0]
    correction.prompt(Scribble(name, False, ((float(i), float(j), 1.5 * k), (float(i) + 1, float(j), 1.5 * k))))
    assert plan.stale


def test_a_plan_names_organs_and_not_the_parts_that_it_made_of_them(session):
    plan = session.outcome.planning

    def offered():
        return [s.name for s in plan.structures(session.outcome.measurements)]

    assert offered() == ["liver", "tumor", "vein"] and plan.whole("tumor") == "tumor"
    plan.divide("liver", PLANE)
    plan.make_parts()
    session.outcome.measure(session.outcome.correction.label_map)
    done(session)
    assert {row.name for row in session.outcome.measurements} == {"liver_part_1", "liver_part_2", "tumor", "vein"}
    assert offered() == ["liver", "tumor", "vein"] and plan.whole("liver_part_2") == "liver"
    for name in offered():
        plan.divide(name, PLANE)
    # without the resection the parts are structures as any other
    plan.remove(0)
    assert offered() == ["liver_part_1", "liver_part_2", "tumor", "vein"]
    assert plan.whole("liver_part_2") == "liver_part_2" and plan.whole("liver") == "liver"
    plan.divide("liver_part_2", PLANE)


def test_a_plan_is_read_back_with_its_result(session, organs):
    plan = session.outcome.planning
    plan.divide("liver", PLANE)
    plan.add("distances", TUMOR_VEIN)
    done(session)
    plan.title = "Right part"
    text = json.dumps(plan.as_plan().as_json()).encode()
    before = [(p.kind, p.entry, p.numbers) for p in plan.entries]
    saved = parse_plan(text, "plan")

    session.outcome.adopt(session.outcome.volume, replace(organs, array=organs.array.copy()), {"model": {"id": "x"}})
    again = session.outcome.planning
    assert again is not plan and again.entries == ()
    again.resume(saved)
    assert sorted((p.kind, p.entry, p.numbers) for p in again.entries) == sorted(before, key=lambda p: p[0])
    assert again.title == "Right part" and not again.stale and not again.can_undo
    plan.remove(0)  # that of the earlier result tells nobody any more
    assert len(session.outcome.planning.entries) == 2

    other = LabelMap(np.roll(organs.array, 1, 2), organs.ijk_to_ras, organs.structures)
    session.outcome.adopt(session.outcome.volume, other, {"model": {"id": "x"}})
    session.outcome.planning.resume(saved)
    assert session.outcome.planning.stale
    session.outcome.planning.take(saved)  # opened by the user: computed at once
    done(session)
    assert not session.outcome.planning.stale and len(session.outcome.planning.entries) == 2
    assert session.outcome.planning.undo()  # back to what was there before

    # whoever wrote it may have written anything: nothing changes
    (known,) = saved.numbers["distances"]
    for bad in ({"one": 1}, {**known, "points_ras": [[1, 2], 3]}, {**known, "points_ras": None}, 7):
        assert not session.outcome.planning.resume(replace(saved, numbers={**saved.numbers, "distances": [bad]}))
    flat = {"organ": "liver", "cuts": [{**PLANE, "normal": [0, 0, 0]}]}
    assert not session.outcome.planning.resume(replace(saved, entries={**saved.entries, "resections": [flat]}))
    assert len(session.outcome.planning.entries) == 2


def test_a_plan_still_holds_with_a_result_whose_parts_were_saved_as_structures(session, organs):
    plan = session.outcome.planning
    plan.divide("liver", PLANE)
    plan.make_parts()
    saved = parse_plan(json.dumps(plan.as_plan().as_json()).encode(), "plan")
    there = session.outcome.correction.label_map
    assert not any(s.name == "liver" for s in there.structures)
    session.outcome.adopt(session.outcome.volume, replace(there, array=there.array.copy()), {"model": {"id": "x"}})
    again = session.outcome.planning
    assert again.resume(saved) and not again.stale
    array = there.array.copy()
    array[array == next(s.value for s in there.structures if s.name == "liver_part_1")] = 0
    session.outcome.adopt(session.outcome.volume, replace(there, array=array), {"model": {"id": "x"}})
    assert session.outcome.planning.resume(saved) and session.outcome.planning.stale


@pytest.mark.parametrize("organ", ["Liver", "liver", "LIVER", "1"])
def test_parts_are_known_however_a_plan_file_names_their_organ(session, organs, organ):
    """Its entries stay as they were written; only the numbers have the structure's name."""
    plan = session.outcome.planning
    plan.divide(organ, PLANE)
    plan.make_parts()
    saved = parse_plan(json.dumps(plan.as_plan().as_json()).encode(), "plan")
    assert saved.entries["resections"][0]["organ"] == organ
    there = session.outcome.correction.label_map
    session.outcome.adopt(session.outcome.volume, replace(there, array=there.array.copy()), {"model": {"id": "x"}})
    assert session.outcome.planning.resume(saved) and not session.outcome.planning.stale


@pytest.mark.parametrize("stale", [False, True])
def test_a_plan_file_is_opened_on_a_result_whose_parts_were_saved_as_structures(session, organs, stale):
    plan = session.outcome.planning
    plan.divide("Liver", PLANE)
    (expected,) = plan.entries
    plan.make_parts()
    saved = plan.as_plan()
    saved.numbers["stale"] = stale  # then they are computed anew
    saved = parse_plan(json.dumps(saved.as_json()).encode(), "plan")
    there = session.outcome.correction.label_map
    session.outcome.adopt(session.outcome.volume, replace(there, array=there.array.copy()), {"model": {"id": "x"}})
    again = session.outcome.planning
    again.take(saved)
    if stale:
        done(session)
    assert not again.stale and again.entries[0].numbers == expected.numbers


def test_an_empty_plan(session):
    plan = session.outcome.planning
    assert plan.as_plan().as_json() == {"format": "deepseg.plan", "version": 1, "units": "mm"}
    with pytest.raises(UsageError, match="plan is empty"):
        plan.recompute()


def test_what_a_task_was_given_stays_as_it_was_when_the_user_corrects_on(organs):
    """Also where structures overlap: each layer is sent, and the worker may be busy with something else."""
    sent = []

    class Client(WorkerClient):
        def submit(self, request, **params):
            sent.append(params)
            return len(sent)

    session = Session(Client())
    tumor = next(s for s in organs.structures if s.name == "tumor")
    grown = LabelMap((organs.array == tumor.value) * organs.array, organs.ijk_to_ras, [tumor])
    rest = replace(organs, structures=[s for s in organs.structures if s is not tumor])
    overlapping = replace(organs, layers=[rest, grown])
    volume = Volume(np.zeros(organs.array.shape, np.int16), organs.ijk_to_ras, "Phantom", "CT")
    session.outcome.adopt(volume, overlapping, {})
    correction, before = session.outcome.correction, editable(overlapping)
    for start in (
        lambda: session.outcome.planning.add("diameters", {"structure": "tumor"}),
        lambda: session.export(Path("out"), ["stl"], correction.label_map),
        lambda: session.compare(organs, correction.label_map),
    ):
        start()
        everything = tuple(slice(0, n) for n in organs.array.shape)
        assert correction.edit("tumor", everything, np.ones(organs.array.shape, bool), give=True) is not None
        assert sent[-1]["label_map"] == before
        correction.undo()
        session.jobs.run.phase = Phase.DONE


def test_a_plan_without_entries_is_not_exported_alone(session, tmp_path):
    with pytest.raises(UsageError, match="The plan is empty"):
        session.export(tmp_path, ["plan"])
    session.export(tmp_path, ["plan", "csv"])
    done(session)
    assert [path.name for path in session.outcome.exported] == ["measurements.csv"]
