"""A model that sees a region which another model finds: both are offered, installed and run, and either may lack."""

from pathlib import Path

import pytest

from DeepSegLogic.io import read_volume
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.session.texts import estimate_text, install_question

from .steps import wait

REFERENCE = Path(__file__).parents[2] / "data" / "totalsegmentator_crop"


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(REFERENCE))
    made = Session()
    yield made
    made.close()


def test_both_are_offered_installed_and_run(session):
    choices = session.choices
    choices.set_volume(read_volume(REFERENCE / "ct.nii.gz"))
    choices.choose_model("liver_vessels")
    entry = choices.models.entry
    assert [card.id for card in entry.missing] == ["liver_vessels", "total_fastest"]
    helper = entry.missing[1]
    question = install_question(entry)
    assert f"{helper.title} will be downloaded" in question and "needs another model:" in question
    assert question.count("Size: ") == question.count("Licence: ") == 2
    assert choices.why_not == "Install the model first."

    choices.install("liver_vessels")
    wait(session, lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.DONE, session.jobs.run.error
    assert choices.models.entry.missing == () and choices.why_not == "" and choices.model_installed
    choices.ask_estimate()
    wait(session, lambda: choices.estimate)
    assert "less once the region is found" in estimate_text(choices.estimate)

    fractions = []
    session.jobs.run_changed.connect(lambda run: fractions.append(run.fraction))
    session.segment()
    wait(session, lambda: session.outcome.measurements)
    assert session.outcome.result.provenance["crop"]["model"]["id"] == "total_fastest"
    assert fractions == sorted(fractions) and any(0.15 < f < 0.4 for f in fractions)

    choices.remove_model("total_fastest")
    assert choices.models.entry.installed and not choices.model_installed
    assert choices.why_not == f"Install the model first: it needs {helper.title}, which is missing."
    question = install_question(choices.models.entry)
    assert question.count("Size: ") == 1 and helper.title in question
    choices.install("liver_vessels")
    wait(session, lambda: not session.jobs.run.busy)
    assert choices.why_not == ""


def test_what_a_model_makes_on_request_is_offered_but_not_chosen(session):
    session.choices.choose_model("body")
    structures = session.choices.structures
    assert structures.known == ("body_trunc", "body_extremities", "skin") and structures.chosen == structures.known[:2]
    session.choices.choose_structures(list(structures.known))
    assert session.choices.structures.chosen == structures.known
