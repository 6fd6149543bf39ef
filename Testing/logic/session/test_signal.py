"""Signals, and when the parts of a session emit them."""

import numpy as np
import pytest

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.session import Phase, Session, Signal
from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.worker import Event


def test_a_listener_that_fails_does_not_starve_the_others():
    heard, changed = [], Signal()

    def fail(value):
        raise ZeroDivisionError(value)

    for slot in (heard.append, fail, heard.append, lambda value: heard.append(-value)):
        changed.connect(slot)
    with pytest.raises(ZeroDivisionError):
        changed.emit(3)
    assert heard == [3, 3, -3]


def test_no_failure_of_several_is_lost():
    def first(_):
        raise KeyError

    def second(_):
        raise ValueError

    changed = Signal()
    changed.connect(first)
    changed.connect(second)
    with pytest.raises(ValueError) as caught:
        changed.emit(None)
    assert isinstance(caught.value.__context__, KeyError)


def test_a_listener_may_disconnect_itself_and_others_still_hear():
    heard, changed = [], Signal()

    def once(value):
        heard.append(value)
        changed.disconnect(once)

    changed.connect(once)
    changed.connect(heard.append)
    changed.emit(1)
    changed.emit(2)
    changed.disconnect(once)
    assert heard == [1, 1, 2]


class Client:
    """A worker's client that answers when told to."""

    def __init__(self):
        self.events, self.jobs = [], 0

    def submit(self, _request, **_params):
        self.jobs += 1
        return self.jobs

    def poll(self):
        events, self.events = self.events, []
        return events


@pytest.fixture
def session():
    return Session(Client())


def ct():
    rng = np.random.default_rng(3)
    return Volume(rng.integers(-1000, 300, (40, 40, 40)).astype(np.int16), np.eye(4), "ct", "CT")


def test_whoever_hears_the_end_of_a_task_may_start_the_next_one(session):
    """Faces see one task after the other, whatever the order in which they connected."""
    seen, before = [], []
    session.jobs.run_changed.connect(lambda run: before.append((run.task, run.phase)))

    def go_on(run):
        seen.append(run.task)
        if len(seen) == 1:
            session.jobs.start("second", "ping", lambda _: None)

    session.jobs.ended.connect(go_on)
    session.jobs.start("first", "ping", lambda _: None)
    session._client.events = [Event("result", 1), Event("result", 2)]
    session.poll()
    assert seen == ["first", "second"]
    assert ("first", Phase.DONE) not in before and before[-1] == ("second", Phase.DONE)


def test_a_failed_task_says_so_once_it_has_ended(session):
    ends = []
    session.jobs.ended.connect(lambda run: ends.append((run.phase, run.error.code)))
    session.jobs.start("first", "ping", lambda _: None)
    session._client.events = [Event("error", 1, error=UsageError("No.", code="usage.no"))]
    session.poll()
    assert ends == [(Phase.FAILED, "usage.no")]


def test_why_a_run_cannot_start_is_known_before_what_changed_it_is_told(session):
    choices, reasons = session.choices, []
    for changed in (choices.input_changed, choices.structures_changed, choices.settings_changed):
        changed.connect(lambda _: reasons.append(choices.why_not))
    choices.set_volume(ct())
    choices.choose_structures([])
    assert reasons == ["", "Choose at least one structure."]


def test_why_a_run_cannot_start_is_told_once_for_each_reason(session):
    told = []
    session.choices.why_not_changed.connect(told.append)
    session.choices.set_volume(ct())
    session.choices.set_quality("draft")
    session.choices.set_volume(None)
    assert told == ["", "Load a CT first."]


def test_a_new_model_comes_with_its_structures(session):
    choices = session.choices
    other = next(entry.card for entry in choices.models.all if entry.card.id != choices.model.id)
    together = []
    choices.models_changed.connect(lambda models: together.append((models.chosen.id, choices.structures.known)))
    choices.choose_model(other.id)
    assert together == [(other.id, tuple(other.structures))]
