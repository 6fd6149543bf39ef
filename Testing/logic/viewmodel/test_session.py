"""A session with a real worker and the bundled model."""

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh

from DeepSegLogic.errors import ResourceError, UsageError
from DeepSegLogic.io import read_volume
from DeepSegLogic.labels import LabelMap
from DeepSegLogic.viewmodel import Phase, Session
from DeepSegLogic.volume import Volume
from DeepSegLogic.worker import Event


@pytest.fixture(scope="module")
def small_ct(chest_ct):
    """The demonstration CT at a third of its resolution in plane."""
    volume = read_volume(chest_ct)
    matrix = volume.ijk_to_ras @ np.diag([3.0, 3.0, 1.0, 1.0])
    return Volume(np.ascontiguousarray(volume.array[:, ::3, ::3]), matrix, "small", "CT")


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()


def wait(session, until, seconds=240):
    deadline = time.monotonic() + seconds
    while not until():
        session.poll()
        assert time.monotonic() < deadline, (session.run, session.log)
        time.sleep(0.01)


def test_from_volume_to_files(session, small_ct, tmp_path):
    told = []
    session.changed.connect(told.append)
    session.set_volume(small_ct)
    assert session.why_not == "" and session.preflight.ready
    session.ask_estimate()
    wait(session, lambda: session.estimate)
    assert session.estimate["windows"] > 0

    fractions = []
    session.changed.connect(lambda part: fractions.append(session.run.fraction) if part == "run" else None)
    session.choose_preset("Thorax")
    wanted = list(session.chosen)
    assert "lung_left" in wanted and "liver" not in wanted
    session.segment()
    assert session.why_not  # one at a time
    with pytest.raises(UsageError):
        session.segment()
    wait(session, lambda: session.measurements)
    assert session.run.phase is Phase.DONE
    assert fractions == sorted(fractions) and len(set(fractions)) > 5
    assert [s.name for s in session.result.label_map.structures] == wanted
    assert {"input", "estimate", "structures", "run", "result", "measurements"} <= set(told)
    # against the voxels themselves
    rows = {row.name: row for row in session.measurements}
    label_map = session.result.label_map
    assert rows["lung_left"].voxels == np.count_nonzero(label_map.mask("lung_left")) > 1000

    session.show_surfaces()
    wait(session, lambda: session.surfaces)
    session.export(tmp_path / "out", ["stl", "glb", "nii.gz", "csv"])
    wait(session, lambda: not session.run.busy)
    assert session.run.phase is Phase.DONE, session.run.error
    names = {path.name for path in session.exported}
    assert {"lung_left.stl", "organs.glb", "segmentation.nii.gz", "measurements.csv", "surfaces.json"} <= names
    mesh = trimesh.load_mesh(tmp_path / "out" / "lung_left.stl")
    assert mesh.is_watertight and mesh.volume / 1000 == pytest.approx(rows["lung_left"].volume_ml, rel=0.02)
    image = sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz"))
    assert np.array_equal(sitk.GetArrayViewFromImage(image) > 0, label_map.array > 0)


def test_cancel_and_failure_keep_the_last_good_result(session, small_ct, tmp_path):
    session.set_volume(small_ct)
    kept = session.result = object()
    session.segment()
    wait(session, lambda: session.run.stage == "Finding structures")
    session.cancel()
    wait(session, lambda: not session.run.busy)
    assert session.run.phase is Phase.CANCELLED and session.result is kept

    session.segment()
    wait(session, lambda: session.run.stage == "Finding structures")
    session._client.kill()
    wait(session, lambda: not session.run.busy)
    assert session.run.phase is Phase.FAILED and session.result is kept
    assert "stopped" in str(session.run.error) and "stopped" in session.log[-1]


def test_what_is_missing_is_said(session, small_ct):
    assert session.why_not == "Load a CT first."
    session.set_volume(small_ct)
    session.choose_structures([])
    assert "structure" in session.why_not
    session.choose_structures(["liver", "no such thing"])
    assert session.chosen == ["liver"] and session.why_not == ""
    session.set_volume(Volume(small_ct.array, small_ct.ijk_to_ras, "x", "MR"))
    assert "MR" in session.why_not
    session.force = True
    assert session.why_not == ""
    with pytest.raises(UsageError):
        session.export(Path("nowhere"), ["stl"])


def test_models_are_searched_and_structures_remembered(session):
    session.search_models("liver vessels")
    assert session.models and any("liver_vessels" in e.card.id for e in session.models)
    absent = next(e.card.id for e in session.models if not e.installed)
    session.choose_structures(["liver"])
    session.choose_model(absent)
    assert not session.model_installed
    session.choose_model("ct_demo")
    assert session.chosen == ["liver"]
    with pytest.raises(UsageError):
        session.choose_model("nothing like it")


class Scripted:
    """A worker's client that answers when told to."""

    def __init__(self):
        self.asked, self.events = [], []

    def submit(self, request, **_params):
        self.asked.append(request)
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
    session.set_volume(small_ct)
    session.adopt_result(LabelMap(np.zeros(small_ct.shape, np.uint8), small_ct.ijk_to_ras, []), {})
    session.show_surfaces()
    session.review(session.result.label_map)
    session.forget_result()
    session.changed.connect(told.append)
    for request in ("measure", "surfaces", "review"):
        client.answer(request, ["of the result before"])
    session.poll()
    assert (session.surfaces, session.measurements, session.findings, told) == (None, [], [], [])


def test_of_many_strokes_only_the_last_is_measured_next(small_ct):
    client = Scripted()
    session = Session(client)
    session.set_volume(small_ct)
    label_map = LabelMap(np.zeros(small_ct.shape, np.uint8), small_ct.ijk_to_ras, [])
    session.adopt_result(label_map, {})
    for _ in range(5):
        session.measure(label_map)
        session.show_surfaces(label_map)
    assert client.asked == ["measure", "surfaces"]
    for number in (1, 2):
        client.answer("surfaces", f"surfaces {number}")
        session.poll()
        assert session.surfaces == f"surfaces {number}"
    assert client.asked == ["measure", "surfaces", "surfaces"]
    client.events.append(Event("error", 1, error=UsageError("It failed."), traceback=""))
    session.poll()
    assert client.asked[3:] == ["measure"] and session.waiting
    client.events.append(Event("error", 4, error=UsageError("It failed."), traceback=""))
    session.poll()
    assert session.measurements == [] and not session.waiting


def test_an_estimate_for_settings_that_have_changed_is_dropped(small_ct):
    client = Scripted()
    session = Session(client)
    session.set_volume(small_ct)
    notes = session.preflight.notes
    session.ask_estimate()
    session.set_quality("best")
    client.answer("estimate", {"windows": 1})
    session.poll()
    assert session.estimate is None

    session.ask_estimate()
    session.ask_estimate()
    shortage = ResourceError("Too little memory.", "Close programs.", code="resource.memory")
    client.events.append(Event("error", 2, error=shortage, traceback=""))
    session.poll()
    assert session.preflight.notes == notes  # only the last one asked for counts
    client.events.append(Event("error", 3, error=shortage, traceback=""))
    session.poll()
    assert session.preflight.notes != notes


def test_a_face_that_cannot_show_one_answer_gets_the_next(small_ct):
    client = Scripted()
    session = Session(client)
    session.set_volume(small_ct)
    label_map = LabelMap(np.zeros(small_ct.shape, np.uint8), small_ct.ijk_to_ras, [])
    session.adopt_result(label_map, {})
    session.show_surfaces()

    def stumble(part):
        if part == "surfaces":
            raise ZeroDivisionError

    session.changed.connect(stumble)
    client.answer("surfaces", "surfaces")
    client.answer("measure", [])
    with pytest.raises(ZeroDivisionError):
        session.poll()
    session.poll()
    session.measure(label_map)
    assert client.asked.count("measure") == 2  # the first one is known to have ended
