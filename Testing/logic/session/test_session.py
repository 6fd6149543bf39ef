"""A session with a real worker and the bundled model."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume
from DeepSegLogic.review.measurements import measure, read_measurements
from DeepSegLogic.session import Phase, Session, Signal
from DeepSegLogic.util.errors import ResourceError, UsageError
from DeepSegLogic.worker import Event

from .steps import settle, wait


@pytest.fixture(scope="module")
def small_ct(chest_ct):
    """The demonstration CT at a third of its resolution in plane."""
    volume = read_volume(chest_ct)
    matrix = volume.ijk_to_ras @ np.diag([3.0, 3.0, 1.0, 1.0])
    return Volume(np.ascontiguousarray(volume.array[:, ::3, ::3]), matrix, "small", "CT")


def signals(session):
    """All that a session has."""
    parts = (session.jobs, session.choices, session.outcome)
    return [value for part in parts for value in vars(part).values() if isinstance(value, Signal)]


def test_from_volume_to_files(session, small_ct, tmp_path):
    told = []
    for signal in signals(session):
        signal.connect(lambda _, signal=signal: told.append(signal))
    session.choices.set_volume(small_ct)
    assert session.choices.why_not == "" and session.choices.input.preflight.ready
    session.choices.ask_estimate()
    wait(session, lambda: session.choices.estimate)
    assert session.choices.estimate.windows > 0

    fractions = []
    session.jobs.run_changed.connect(lambda run: fractions.append(run.fraction))
    session.choices.choose_preset("Thorax")
    wanted = list(session.choices.structures.chosen)
    assert "lung_left" in wanted and "liver" not in wanted
    session.segment()
    assert session.choices.why_not  # one at a time
    with pytest.raises(UsageError):
        session.segment()
    wait(session, lambda: session.outcome.measurements)
    assert session.jobs.run.phase is Phase.DONE
    assert fractions == sorted(fractions) and len(set(fractions)) > 5
    assert [s.name for s in session.outcome.result.label_map.structures] == wanted
    choices, outcome = session.choices, session.outcome
    assert {choices.input_changed, choices.estimate_changed, choices.structures_changed, session.jobs.run_changed} <= {
        *told
    }
    assert {outcome.result_changed, outcome.measurements_changed} <= {*told}
    # against the voxels themselves
    rows = {row.name: row for row in session.outcome.measurements}
    label_map = session.outcome.result.label_map
    assert rows["lung_left"].voxels == np.count_nonzero(label_map.mask("lung_left")) > 1000

    session.outcome.show_surfaces()
    wait(session, lambda: session.outcome.surfaces)
    session.export(tmp_path / "out", ["stl", "glb", "nii.gz", "csv"])
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.DONE, session.jobs.run.error
    names = {path.name for path in session.outcome.exported}
    assert {"lung_left.stl", "organs.glb", "segmentation.nii.gz", "measurements.csv", "surfaces.json"} <= names
    mesh = trimesh.load_mesh(tmp_path / "out" / "lung_left.stl")
    assert mesh.is_watertight and mesh.volume / 1000 == pytest.approx(rows["lung_left"].volume_ml, rel=0.02)
    image = sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz"))
    assert np.array_equal(sitk.GetArrayViewFromImage(image) > 0, label_map.array > 0)


def test_cancel_and_failure_keep_the_last_good_result(session, small_ct, tmp_path):
    session.choices.set_volume(small_ct)
    kept = session.outcome.result = object()
    session.segment()
    wait(session, lambda: session.jobs.run.stage == "Segmenting")
    session.jobs.cancel()
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.CANCELLED and session.outcome.result is kept

    session.segment()
    wait(session, lambda: session.jobs.run.stage == "Segmenting")
    session._client.kill()
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.FAILED and session.outcome.result is kept
    assert "stopped" in str(session.jobs.run.error) and "stopped" in session.jobs.log[-1]


def test_a_result_on_its_way_while_the_run_is_cancelled_is_dropped(session, small_ct):
    """As when the scene is closed in the last moment of a run: the volume of its result is gone."""
    session.choices.set_volume(small_ct)
    session.segment()
    jobs, end = session.jobs, time.monotonic() + 120
    while not any(event.job == jobs._task and event.kind == "result" for event in jobs._heard):
        jobs._heard.extend(session._client.poll())
        assert time.monotonic() < end
        time.sleep(0.01)
    jobs.cancel()
    session.poll()
    assert jobs.run.phase is Phase.CANCELLED and session.outcome.result is None


def test_what_is_missing_is_said(session, small_ct):
    assert session.choices.why_not == "Load a CT first."
    session.choices.set_volume(small_ct)
    session.choices.choose_structures([])
    assert "structure" in session.choices.why_not
    session.choices.choose_structures(["liver", "no such thing"])
    assert session.choices.structures.chosen == ("liver",) and session.choices.why_not == ""
    session.choices.set_volume(Volume(small_ct.array, small_ct.ijk_to_ras, "x", "MR"))
    assert "MR" in session.choices.why_not
    session.choices.set_force(True)
    assert session.choices.why_not == ""
    with pytest.raises(UsageError):
        session.export(Path("nowhere"), ["stl"])


def test_models_are_searched_and_structures_remembered(session):
    session.choices.search_models("liver vessels")
    assert session.choices.models.shown and any("liver_vessels" in e.card.id for e in session.choices.models.shown)
    absent = next(e.card.id for e in session.choices.models.shown if not e.installed)
    session.choices.choose_structures(["liver"])
    session.choices.choose_model(absent)
    assert not session.choices.model_installed
    session.choices.choose_model("ct_demo")
    assert session.choices.structures.chosen == ("liver",)
    with pytest.raises(UsageError):
        session.choices.choose_model("nothing like it")


class Scripted:
    """A worker's client that answers when told to."""

    def __init__(self):
        self.asked, self.params, self.events = [], {}, []

    def submit(self, request, **params):
        self.asked.append(request)
        self.params[request] = params
        return len(self.asked)

    def answer(self, request, value):
        jobs = [number for number, asked in enumerate(self.asked, 1) if asked == request]
        self.events.append(Event("result", jobs[-1], value=value))

    def poll(self):
        events, self.events = self.events, []
        return events


def test_answers_about_a_result_that_has_gone_are_dropped(small_ct):
    client, told = Scripted(), []
    session = Session(client)
    session.choices.set_volume(small_ct)
    session.outcome.adopt(small_ct, LabelMap(np.zeros(small_ct.shape_kji, np.uint8), small_ct.ijk_to_ras, []), {})
    session.outcome.show_surfaces()
    session.outcome.review(session.outcome.result.label_map)
    session.outcome.forget()
    for signal in signals(session):
        signal.connect(told.append)
    for request in ("measure", "surfaces", "review"):
        client.answer(request, ["of the result before"])
    session.poll()
    assert (session.outcome.surfaces, session.outcome.measurements, session.outcome.findings, told) == (
        None,
        [],
        [],
        [],
    )


def test_of_many_strokes_only_the_last_is_measured_next(small_ct):
    client = Scripted()
    session = Session(client)
    session.choices.set_volume(small_ct)
    label_map = LabelMap(np.zeros(small_ct.shape_kji, np.uint8), small_ct.ijk_to_ras, [])
    session.outcome.adopt(small_ct, label_map, {})
    assert session.outcome.why_no_measurements == "Measuring the structures."
    for _ in range(5):
        session.outcome.measure(label_map)
        session.outcome.show_surfaces(label_map)
    assert client.asked == ["measure", "surfaces"]
    for number in (1, 2):
        client.answer("surfaces", f"surfaces {number}")
        session.poll()
        assert session.outcome.surfaces == f"surfaces {number}"
    assert client.asked == ["measure", "surfaces", "surfaces"]
    client.events.append(Event("error", 1, error=UsageError("It failed."), traceback=""))
    session.poll()
    assert client.asked[3:] == ["measure"] and session.jobs.waiting
    client.events.append(Event("error", 4, error=UsageError("It failed."), traceback=""))
    told = []
    session.outcome.measurements_changed.connect(told.append)
    session.poll()
    assert session.outcome.measurements == [] and not session.jobs.waiting
    assert told == [[]] and session.outcome.why_no_measurements == "The structures cannot be measured. It failed."


def test_a_new_result_does_not_show_the_measurements_of_the_last_one(small_ct):
    client, told = Scripted(), []
    session = Session(client)
    outcome = session.outcome
    assert outcome.why_no_measurements == "No result yet."
    outcome.measurements_changed.connect(lambda rows: told.append((len(rows), outcome.why_no_measurements)))
    label_map = LabelMap(np.zeros(small_ct.shape_kji, np.uint8), small_ct.ijk_to_ras, [Structure(1, "liver", "Liver")])
    session.choices.set_volume(small_ct)
    for _ in range(2):
        outcome.adopt(small_ct, label_map, {})
        client.answer("measure", measure(label_map, small_ct))
        session.poll()
    outcome.forget()
    assert told == [(0, "Measuring the structures."), (1, "")] * 2 + [(0, "No result yet.")]


def test_an_estimate_for_settings_that_have_changed_is_dropped(small_ct):
    client = Scripted()
    session = Session(client)
    session.choices.set_volume(small_ct)
    notes = session.choices.input.preflight.notes
    session.choices.ask_estimate()
    session.choices.set_quality("best")
    client.answer("estimate", {"windows": 1})
    session.poll()
    assert session.choices.estimate is None

    session.choices.ask_estimate()
    session.choices.ask_estimate()
    shortage = ResourceError("Too little memory.", "Close programs.", code="resource.memory")
    client.events.append(Event("error", 2, error=shortage, traceback=""))
    session.poll()
    assert session.choices.input.preflight.notes == notes  # only the last one asked for counts
    client.events.append(Event("error", 3, error=shortage, traceback=""))
    session.poll()
    assert session.choices.input.preflight.notes != notes


def test_a_face_that_cannot_show_one_answer_gets_the_next(small_ct):
    client = Scripted()
    session = Session(client)
    session.choices.set_volume(small_ct)
    label_map = LabelMap(np.zeros(small_ct.shape_kji, np.uint8), small_ct.ijk_to_ras, [])
    session.outcome.adopt(small_ct, label_map, {})
    session.outcome.show_surfaces()

    def stumble(_surfaces):
        raise ZeroDivisionError

    session.outcome.surfaces_changed.connect(stumble)
    client.answer("surfaces", "surfaces")
    client.answer("measure", [])
    with pytest.raises(ZeroDivisionError):
        session.poll()
    session.poll()
    session.outcome.measure(label_map)
    assert client.asked.count("measure") == 2  # the first one is known to have ended


def adopt_organs(session, volume):
    """A result with a liver and a spleen of 64 voxels each; the spleen has low confidence."""
    array = np.zeros(volume.shape_kji, np.uint8)
    array[2:6, 2:6, 2:6], array[2:6, 8:12, 2:6] = 1, 2
    found = LabelMap(array, volume.ijk_to_ras, [structure_for("liver", 1), structure_for("spleen", 2)])
    session.outcome.adopt(volume, found, {}, {"liver": 0.91, "spleen": 0.42}, {"liver": 0.5, "spleen": 0.4})
    return found, array


def test_a_corrected_structure_has_the_confidence_of_the_model_again_after_undo(session, small_ct):
    outcome = session.outcome
    adopt_organs(session, small_ct)
    correction = outcome.correction

    def told():
        """The table of both faces, and the structures that the review calls doubtful."""
        outcome.measure(correction.label_map)
        outcome.review(correction.label_map)
        settle(session)
        table = {row.name: (row.voxels, row.confidence, row.boundary_margin) for row in outcome.measurements}
        return table, [finding.structure for finding in outcome.findings if finding.kind == "confidence"]

    before = {"spleen": (64, 0.42, 0.4), "liver": (64, 0.91, 0.5)}, ["spleen"]
    assert told() == before
    plane = (slice(2, 6), slice(11, 12), slice(2, 6))
    assert correction.edit("spleen", plane, np.ones((4, 1, 4), bool), give=False)
    assert told() == ({"liver": (64, 0.91, 0.5), "spleen": (48, None, None)}, [])
    correction.undo()
    assert told() == before
    correction.redo()
    assert told()[0]["spleen"] == (48, None, None)


def test_what_was_changed_before_the_result_was_opened_has_no_confidence(session, small_ct):
    outcome = session.outcome
    label_map, _ = adopt_organs(session, small_ct)
    settle(session)
    as_run, known = dict(outcome.as_run), {"confidence": {"liver": 0.91, "spleen": 0.42}}
    moved = replace(label_map, array=np.roll(label_map.array, 12, (0, 1, 2)))  # as many voxels, of other HU
    for opened, sure in ((label_map, {"liver": 0.91, "spleen": 0.42}), (moved, {})):
        outcome.adopt(small_ct, opened, {}, as_run=as_run, **known)
        outcome.review(opened)
        settle(session)
        assert {row.name: row.confidence for row in outcome.measurements if row.confidence is not None} == sure
        assert outcome.belief_in(opened)[0] == sure and outcome.as_run == as_run
        assert ("confidence" in {finding.kind for finding in outcome.findings}) == bool(sure)
    assert known["confidence"] == {"liver": 0.91, "spleen": 0.42}  # the caller's own


def test_a_comparison_with_an_earlier_scan_has_no_confidence_of_before_a_correction(small_ct, tmp_path):
    client = Scripted()
    session = Session(client)
    found, array = adopt_organs(session, small_ct)
    corrected = replace(found, array=array.copy())
    corrected.array[2:6, 11, 2:6] = 0
    session.compare_with_earlier(found, None, tmp_path, label_map=corrected)
    assert client.params["follow_up"]["confidence"] == {"liver": 0.91}


def test_an_export_after_a_correction_has_the_numbers_of_the_corrected_labels(session, small_ct, tmp_path):
    found, array = adopt_organs(session, small_ct)
    corrected = replace(found, array=array.copy())
    corrected.array[2:6, 11, 2:6] = 0
    session.export(tmp_path / "out", ["csv", "html"], corrected)
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.DONE, session.jobs.run.error
    liver, spleen = read_measurements(tmp_path / "out" / "measurements.csv")
    assert (liver.voxels, liver.confidence, liver.boundary_margin) == (64, 0.91, 0.5)
    assert (spleen.voxels, spleen.confidence, spleen.boundary_margin) == (48, None, None)
    assert spleen.mean_hu == pytest.approx(small_ct.array[corrected.array == 2].mean(), abs=0.05)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert ">0.91</td>" in page and ">0.42</td>" not in page


def test_an_exported_report_counts_the_findings_that_were_hidden(session, small_ct, tmp_path):
    adopt_organs(session, small_ct)
    outcome = session.outcome
    outcome.review(outcome.result.label_map)
    settle(session)
    low = next(finding for finding in outcome.findings if finding.kind == "confidence")
    for folder in ("before", "after"):
        session.export(tmp_path / folder, ["html"])
        wait(session, lambda: not session.jobs.run.busy)
        page = (tmp_path / folder / "report.html").read_text("utf-8")
        assert (low.reason in page, "1 finding hidden by the reader." in page) == (
            folder == "before",
            folder == "after",
        )
        outcome.ignore(low)
