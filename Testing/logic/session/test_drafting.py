"""A draft in the session: written in the worker, edited, marked when the result changes, dropped with it."""

from dataclasses import replace

import language_models
import numpy as np
import pytest

from DeepSegLogic import Endpoint, LabelMap, UsageError, Volume
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.worker import WorkerClient

from .steps import settle


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.drafting.endpoint._path", lambda: tmp_path / "drafting.json")
    made = Session(WorkerClient(grace=0.2))
    yield made
    made.close()


def test_the_life_of_a_draft(session):
    drafting, outcome = session.drafting, session.outcome
    drafting.look_up()
    assert drafting.endpoint is None
    array = np.zeros((12, 12, 12), np.uint8)
    array[2:10, 2:10, 2:10] = 1
    liver = LabelMap(array, np.eye(4) * [5, 5, 5, 1], [structure_for("liver", 1)])
    volume = Volume(np.full(array.shape, 40, np.int16), liver.ijk_to_ras)
    with pytest.raises(UsageError) as caught:
        drafting.write(liver)
    assert caught.value.code == "usage.drafting"
    with language_models.Scripted("The liver has 64.0 ml and 7 HU.") as model:
        drafting.set_up(model.url, "medgemma", False)
        with pytest.raises(UsageError, match="Nothing to report"):
            drafting.write(liver)
        outcome.adopt(volume, liver, {})
        settle(session)
        drafting.write(liver)
        settle(session)
        assert session.jobs.run.phase is Phase.DONE
        assert drafting.draft.text == "The liver has 64.0 ml and ~~7 HU~~ [?]."

        first = drafting.draft
        drafting.edit(first.text)
        assert drafting.draft is first
        drafting.edit("The liver has 64.0 ml. 3 cm more.")
        assert drafting.draft.edited and drafting.draft.unknown == ("3 cm",)

        outcome.measure(liver)  # as it was
        settle(session)
        assert drafting.draft.notes == first.notes
        smaller = array.copy()
        smaller[:4] = 0
        for _ in range(2):
            outcome.measure(replace(liver, array=smaller))
            settle(session)
        assert [note for note in drafting.draft.notes if "no longer hold" in note] == [drafting.draft.notes[0]]

        edited = drafting.draft
    drafting.write(liver)  # nobody answers any more
    settle(session)
    assert session.jobs.run.error.code == "resource.draft" and drafting.draft is edited

    drafting.endpoint = Endpoint("https://127.1.invalid", other_host=True)
    drafting.write(liver)
    assert "are sent to 127.1.invalid." in session.jobs.run.warnings[0]
    outcome.adopt(volume, liver, {})
    assert drafting.draft is None
    settle(session)
    assert drafting.draft is None
    drafting.set_up("", "", False)
    assert drafting.endpoint is None
