"""Explanations and second opinions, by the real worker on small volumes, and what becomes of late answers."""

import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.review.attribution import Attribution
from DeepSegLogic.review.disagreement import Disagreement
from DeepSegLogic.segmentation import Result
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.util.errors import UsageError

from .steps import settle


def ball(side=24):
    away = np.linalg.norm(np.indices((side,) * 3) - side / 2, axis=0)
    return (away < side / 4).astype(np.uint8)


def adopted(session, model="ct_demo"):
    """A ball that is called a liver, as a result."""
    volume = Volume(np.where(ball(), 60, -80).astype(np.int16), np.diag([4.0, 4.0, 4.0, 1.0]), "ball", "CT")
    labels = LabelMap(ball(), volume.ijk_to_ras, [Structure(1, "liver", "Liver"), Structure(2, "spleen", "Spleen")])
    session.outcome.adopt(volume, labels, {"model": {"id": model}})
    settle(session)
    return labels


class Client:
    """Takes requests, and answers when the test says so."""

    def __init__(self):
        self.asked, self.events, self.count = [], [], 0

    def submit(self, request, **params):
        self.count += 1
        self.asked.append((request, params))
        return self.count

    def poll(self):
        events, self.events = self.events, []
        return events

    def answer(self, value):
        from DeepSegLogic.worker import Event

        self.events.append(Event("result", self.count, value=value))

    def cancel(self, job=None): ...

    def close(self): ...


@pytest.fixture
def scripted():
    client = Client()
    session = Session(client)
    adopted_without_waiting(session)
    return session, client


def adopted_without_waiting(session):
    volume = Volume(np.zeros((24, 24, 24), np.int16), np.eye(4), "ball", "CT")
    labels = LabelMap(ball(), volume.ijk_to_ras, [Structure(1, "liver", "Liver")])
    session.outcome.show(volume, Result(labels, {}, provenance={"model": {"id": "ct_demo"}}))


def test_nothing_can_be_asked_before_a_result(session):
    assert session.sureness.why_not == "Segment a volume first."
    with pytest.raises(UsageError, match="Segment a volume first"):
        session.sureness.explain("liver")


def test_who_can_be_asked(scripted):
    session, _client = scripted
    others = session.sureness.others
    assert list(others)[:3] == ["augmentation", "dropout", "folds"] and "ct_demo" not in others
    assert session.sureness.why_not == ""
    session.outcome.result.provenance["model"] = {"id": "gone"}
    assert session.sureness.why_not == "The model of this result is not on this computer."


def test_an_explanation_becomes_the_overlay(scripted):
    session, client = scripted
    told = []
    session.sureness.changed.connect(lambda sureness: told.append(sureness.overlay))
    session.sureness.explain("liver", "occlusion")
    request, params = client.asked[-1]
    assert request == "explain" and params["structure"] == "liver" and params["method"] == "occlusion"
    assert params["model"] == "ct_demo" and params["label_map"].structures[0].name == "liver"
    assert session.sureness.why_not == "A task is running."
    array = np.full((24, 24, 24), 7, np.uint8)
    array[3, 2, 13] = 9
    client.answer(Attribution(array, np.eye(4), "liver", "occlusion", (1.0, 2.0, 3.0), 0.75, 0.5))
    session.poll()
    assert session.sureness.overlay[0] is array and session.sureness.overlay[2] == "Why Liver"
    summary = "Liver: probability 0.75 where it is thickest. The map is strongest 12 mm from there."
    assert session.jobs.run.summary == summary
    assert told[-1] is session.sureness.overlay
    session.outcome.forget()
    assert session.sureness.overlay is None and session.sureness.attribution is None and told[-1] is None


def opinion():
    rows = [Disagreement("liver", "Liver", (1.0, 2.0), 0.5, 1.0, (4.0, 5.0, 6.0))]
    other = LabelMap(np.roll(ball(), 3, 2), np.eye(4), [Structure(1, "liver", "Liver")])
    return {"rows": rows, "map": np.zeros((24, 24, 24), np.uint8), "other": other}


def test_a_second_opinion_can_be_taken_over_and_undone(scripted):
    session, client = scripted
    with pytest.raises(UsageError, match="no second opinion"):
        session.sureness.taken(session.outcome.result.label_map, "liver")
    session.sureness.ask("augmentation")
    client.answer(opinion())
    session.poll()
    assert session.jobs.run.summary == "Structures that differ: 1 of 1." and session.sureness.rows[0].differs
    correction = session.outcome.correction
    correction.take(session.sureness.taken(correction.label_map, "liver"))
    np.testing.assert_array_equal(correction.label_map.array, np.roll(ball(), 3, 2))
    correction.undo()
    np.testing.assert_array_equal(correction.label_map.array, ball())


def test_an_answer_about_an_earlier_result_is_dropped(scripted):
    session, client = scripted
    session.sureness.ask("augmentation")
    adopted_without_waiting(session)
    client.count -= 1  # the new result is measured meanwhile
    client.answer(opinion())
    client.count += 1
    session.poll()
    assert session.sureness.rows == [] and session.sureness.overlay is None


def test_the_worker_answers_both(session):
    labels = adopted(session)
    session.choices.set_device("cpu")
    session.choices.set_quality("draft")
    session.sureness.explain("Liver")
    settle(session)
    assert session.jobs.run.phase is Phase.DONE, session.jobs.run.error
    found = session.sureness.attribution
    assert found.array.shape == labels.array.shape and found.array.max() > 200
    assert found.at == (48.0, 48.0, 48.0)
    session.sureness.explain("spleen")
    settle(session)
    assert session.jobs.run.phase is Phase.FAILED and "Spleen has no voxels" in str(session.jobs.run.error)
    session.sureness.ask("dropout")
    settle(session)
    assert "ct_demo has no dropout" in str(session.jobs.run.error)
    assert session.sureness.overlay[0] is found.array  # a failure takes nothing away
    session.sureness.ask("augmentation")
    settle(session)
    assert session.jobs.run.phase is Phase.DONE, session.jobs.run.error
    assert {row.name for row in session.sureness.rows} == {"liver", "spleen"} and session.sureness.other is not None
