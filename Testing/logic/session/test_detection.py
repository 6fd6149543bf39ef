"""Lesions in a session: search in a real worker, go through them, decide, segment one, export; what is in the way."""

import csv
import json

import numpy as np
import pytest
from bright_detector import phantom, write_bright_model

from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.util.errors import InputError, UsageError

from .steps import wait

CENTERS = [(30.0, 40.0, 50.0), (90.0, 60.0, 60.0), (60.0, 100.0, 20.0)]


def ended(session, phase=Phase.DONE):
    assert wait(session).phase is phase, session.jobs.run.error
    return session.jobs.run


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """With a detector installed."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("detection")
    patch.setenv("DEEPSEG_MODELS", str(folder / "store"))
    import_model(write_bright_model(folder / "bright"))
    made = Session()
    yield made
    made.close()
    patch.undo()


def test_a_session_from_search_to_files(session, tmp_path):
    detection, shown = session.detection, []
    detection.chosen.connect(shown.append)
    assert detection.why_not == "Load a CT first." and detection.model == "bright"
    with pytest.raises(UsageError, match="Load a CT"):
        detection.search()
    session.choices.set_volume(phantom(CENTERS))
    assert detection.why_not == ""
    detection.search()
    assert detection.why_not == "Wait for the running task."
    run = ended(session)
    assert run.summary == "Findings: 3, listed under Find lesions."
    assert detection.text == "Findings shown: 3 of 3, accepted: 0."
    centers = np.array([f.center_ras for f in detection.findings])
    assert np.linalg.norm(centers[:, None] - np.array(CENTERS), axis=2).min(0).max() < 4.5
    assert detection.at == 0 and shown == [detection.findings[0]]

    detection.step(1), detection.step(1)
    assert detection.at == 2
    detection.step(1)
    assert detection.at == 0, "around the end"
    detection.step(-1)
    assert detection.at == 2
    detection.decide("rejected")
    detection.choose(0)
    detection.decide("accepted")
    assert [f.state for f in detection.findings] == ["accepted", "open", "rejected"]
    detection.decide("accepted")
    assert detection.findings[0].state == "open", "the same decision again takes it back"
    detection.decide("accepted")
    detection.show_from(1.0)
    assert detection.shown == [0, 2], "decisions are not hidden"

    before = session.outcome.result
    label_map, box = detection.seed(None)
    assert before is None and [s.name for s in label_map.structures] == ["bright_spot_1"]
    session.outcome.adopt(session.choices.volume, label_map, {})
    correction = session.outcome.correction
    correction.prompt(box)
    # A ball of 6 mm has 0.90 ml, on voxels of 2 mm within a fifth of it.
    assert correction.label_map.volume_ml("bright_spot_1") == pytest.approx(0.90, rel=0.3)
    assert detection.result_is_of_volume
    detection.choose(1)
    more, _ = detection.seed(correction.label_map)
    assert [s.name for s in more.structures] == ["bright_spot_1", "bright_spot_2"]

    detection.export(tmp_path / "out", ["csv", "mrk.json"])
    assert ended(session).summary.startswith("Files in ") and session.jobs.run.summary.endswith(": 3.")
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").read_text("utf-8").splitlines()))
    assert [row["state"] for row in rows] == ["accepted", "rejected"]
    assert len(json.loads((tmp_path / "out" / "findings.mrk.json").read_text("utf-8"))["markups"]) == 1
    with pytest.raises(UsageError, match="No finding is chosen"):
        detection.choose(None)
        detection.decide("accepted")


def test_a_failed_search_keeps_the_findings_and_another_volume_drops_them(session):
    detection = session.detection
    volume = phantom(CENTERS)
    session.choices.set_volume(volume)
    detection.search()
    ended(session)
    session.choices.set_volume(phantom(CENTERS))  # read again, as faces do
    assert len(detection.findings) == 3
    broken = phantom(CENTERS)
    broken.array[:] = np.where(broken.array > 0, 3, 0)  # a label map
    session.choices.set_volume(broken)
    detection.search()
    run = ended(session, Phase.FAILED)
    assert isinstance(run.error, InputError) and len(detection.findings) == 3
    other = phantom([])
    other.name = "other"
    session.choices.set_volume(other)
    assert detection.findings == [] and detection.found is None
    detection.search()
    assert ended(session).summary == "No lesions found." and detection.text.startswith("Findings shown: 0 of 0")
    detection.step(1)
    assert detection.at is None
    with pytest.raises(UsageError, match="no findings to write"):
        detection.export("nowhere", ["csv"])


def test_findings_of_a_volume_that_is_no_longer_chosen_are_not_shown(session):
    detection = session.detection
    session.choices.set_volume(phantom(CENTERS))
    detection.search()
    other = phantom([])
    other.name = "other"
    session.choices.set_volume(other)
    ended(session)
    assert detection.findings == [] and detection.found is None


def test_a_detector_does_not_segment(session):
    session.choices.choose_model("bright")
    session.choices.set_volume(phantom([]))
    assert session.choices.why_not == "This model finds lesions as boxes. Choose another one to segment."


def test_without_a_detector_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "none"))
    made = Session()
    detection = made.detection
    if not detection.models:  # none is bundled
        assert detection.why_not == "Import a model for detection first."
    made.close()
