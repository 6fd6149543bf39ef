"""Learning from corrections in a session: collect, learn in the worker, accept, go back; with a real worker."""

import dataclasses

import dicom_series
import numpy as np
import pytest

from DeepSegLogic.io.patients import patient_key
from DeepSegLogic.models.find import find_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.session.chosen import Place
from DeepSegLogic.session.model_list import entries_on_server
from DeepSegLogic.session.texts import offer_rows
from DeepSegLogic.util.errors import UsageError

from ..adaptation.conftest import trained  # noqa: F401  # a fixture
from ..training import phantom
from .steps import wait


def ended(session, phase=Phase.DONE):
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is phase, session.jobs.run.error
    return session.jobs.run


@pytest.fixture
def session(trained, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("DEEPSEG_CORRECTIONS", str(tmp_path / "corrections"))
    import_model(trained)
    made = Session(model="lab")
    yield made
    made.close()


def show(session, seed):
    """A result in which a part of the spleen is taken for background, and its correction."""
    volume, labels = phantom.case(seed)
    wrong = labels.copy()
    wrong[:, :, :16][labels[:, :, :16] == 2] = 0
    wrong[: len(wrong) // 2][labels[: len(wrong) // 2] == 2] = 0
    session.outcome.adopt(volume, phantom.label_map(volume, wrong), {"model": {"id": "lab"}})
    session.outcome.correction.take(phantom.label_map(volume, labels))


def test_from_a_correction_to_a_new_version_and_back(session, tmp_path):
    adaptation, told = session.adaptation, []
    adaptation.changed.connect(told.append)
    assert "Segment a volume" in adaptation.why_not_collect and "Collect" in adaptation.why_not_learn
    with pytest.raises(UsageError, match="Segment a volume"):
        adaptation.collect()
    with pytest.raises(UsageError, match="Collect a"):
        adaptation.learn()
    for seed in (10, 11):
        show(session, seed)
        assert adaptation.structures() == ["spleen"] and adaptation.why_not_collect == ""
        question = adaptation.question()
        assert f"case_{seed}" in question and str(tmp_path / "corrections") in question and "Spleen" in question
        adaptation.collect()
        assert adaptation.why_not_collect == "Wait for the running task."
        ended(session)
    assert [case.structures for case in adaptation.cases] == [("spleen",)] * 2 and told

    fractions = []
    session.jobs.run_changed.connect(lambda run: fractions.append(run.fraction))
    adaptation.minutes = 0.05
    adaptation.learn()
    wait(session, lambda: session.jobs.run.stage == "Learning")
    session.jobs.cancel()
    ended(session, Phase.CANCELLED)
    assert adaptation.offer is None and len(adaptation.cases) == 2

    fractions.clear()
    adaptation.learn()
    run = ended(session)
    assert fractions == sorted(fractions) and "Held out: case_11." in run.warnings
    assert {row[0] for row in offer_rows(adaptation.offer)} >= {"Held out", "Learnt from"}
    with pytest.raises(UsageError):
        Session(model="lab").adaptation.go_back()
    assert Session(model="lab").adaptation.offer == adaptation.offer, "it waits for the next session, too"

    adaptation.accept()
    assert "version 1" in ended(session).summary
    assert session.choices.model.id == "lab_adapted" and session.choices.structures.known == ("liver", "spleen")
    assert adaptation.offer is None and len(adaptation.cases) == 2 and adaptation.why_not_back == ""
    adaptation.go_back()
    ended(session)
    assert session.choices.model.id == "lab" and "no earlier version" in adaptation.why_not_back
    adaptation.remove(adaptation.cases[0].digest)
    assert len(adaptation.cases) == 1


def test_the_patient_of_a_series_from_dicom_files_is_known(session, tmp_path):
    for seed, source in ((10, ""), (11, str(dicom_series.write_series(tmp_path / "series", PatientID="MRN 7")))):
        show(session, seed)
        session.outcome.volume.source = source
        session.adaptation.collect()
        ended(session)
    assert [case.patient for case in session.adaptation.cases] == ["", patient_key("MRN 7")]


def test_two_visits_of_a_patient_are_held_out_together(session, tmp_path):
    """By the code that the user gives, which starts as the PatientID where one is known."""
    adaptation, series = session.adaptation, dicom_series.write_series(tmp_path / "series", PatientID="MRN 7")
    for seed, source, typed in ((10, "", "MRN 7"), (11, str(series), None), (12, str(series), "P 9"), (13, "", None)):
        show(session, seed)
        assert adaptation.patient == "", "that of the result before is not this one's"
        if source:
            session.outcome.volume.source = source
            session.outcome.result_changed.emit(session.outcome.result)
            wait(session, lambda: adaptation.patient)
            assert adaptation.patient == "MRN 7"
        adaptation.patient = adaptation.patient if typed is None else typed
        adaptation.collect()
        ended(session)
    same, other = patient_key("MRN 7"), patient_key("P 9")
    assert [case.patient for case in adaptation.cases] == [same, same, other, ""]


def test_what_the_user_typed_is_not_replaced_by_a_late_answer(session, tmp_path):
    show(session, 10)
    session.outcome.volume.source = str(dicom_series.write_series(tmp_path / "series", PatientID="MRN 7"))
    session.outcome.result_changed.emit(session.outcome.result)
    session.adaptation.patient = "P 9"
    wait(session, lambda: not session.jobs.waiting)
    assert session.adaptation.patient == "P 9"


def test_a_code_stays_with_the_volume_also_when_it_is_read_again(session):
    """As after the next run: the panel reads the volume from the scene for each."""
    show(session, 10)
    session.adaptation.patient = "P 9"
    session.outcome.forget()
    assert session.adaptation.patient == ""
    for seed, code in ((10, "P 9"), (11, ""), (10, "P 9")):
        show(session, seed)
        assert session.adaptation.patient == code
    session.adaptation.patient = ""
    show(session, 10)
    assert session.adaptation.patient == "", "it was cleared"


def test_unchanged_results_teach_all_of_their_structures(session):
    volume, labels = phantom.case(10)
    session.outcome.adopt(volume, phantom.label_map(volume, labels), {})
    assert session.adaptation.structures() == ["liver", "spleen"]
    assert np.array_equal(session.outcome.correction.label_map.array, labels)


def test_with_a_server_chosen_it_says_where_the_model_learns(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_CORRECTIONS", str(tmp_path))
    session, demo = Session(), find_model("ct_demo")
    adaptation, choices = session.adaptation, session.choices
    assert adaptation.where == ""
    there = Place("https://gpu.example:8766")
    choices.take_place(there, lambda: entries_on_server([demo, dataclasses.replace(demo, id="only_there")]))
    assert choices.model.id == "ct_demo" and "not on the chosen server" in adaptation.where
    adaptation._uses("ct_demo_adapted")  # as when an offered version is accepted; the server's list does not have it
    assert choices.model.id == "ct_demo" and "ct_demo_adapted is installed where" in session.jobs.run.summary
    choices.choose_model("only_there")
    assert "not installed on this computer" in adaptation.why_not
    choices.take_place(Place())
    assert adaptation.where == ""
