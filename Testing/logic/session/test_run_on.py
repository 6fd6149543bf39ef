"""A session whose runs happen on a server: the same choices, task and result."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra server")


from running_server import Running, ct

from DeepSegLogic.remote import known
from DeepSegLogic.remote.worker import RemoteWorker
from DeepSegLogic.session import Phase, Session
from DeepSegLogic.util.errors import UsageError

from .steps import wait


@pytest.fixture
def server(tmp_path):
    running = Running(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "_default_path", lambda: tmp_path / "servers.json")
    made = Session(RemoteWorker())
    yield made
    made.close()


def done(session):
    return session.jobs.run.phase in (Phase.DONE, Phase.FAILED, Phase.CANCELLED)


def connected(session, server, monkeypatch):
    known.KnownServers().save(server.url, server.fingerprint)
    monkeypatch.setenv("DEEPSEG_TOKEN", server.tokens["anna"])
    session.run_on(server.url)
    wait(session, lambda: done(session))


def test_a_run_on_a_server_and_back(session, server, monkeypatch):
    places = []
    session.choices.place_changed.connect(lambda place: places.append(place.url))
    connected(session, server, monkeypatch)
    choices = session.choices
    assert places == [server.url] and choices.model.id == "ct_demo"  # the stand-in still lists real models
    assert all(entry.installed and not entry.removable for entry in choices.models.all)
    with pytest.raises(UsageError, match="installed there"):
        choices.install("total")
    volume = ct(1)
    choices.set_volume(volume)
    choices.set_force(True)
    assert choices.why_not == ""
    session.segment()
    wait(session, lambda: done(session))
    np.testing.assert_array_equal(session.outcome.result.label_map.array, volume.array > 300)
    assert len(server.starts) == 1
    wait(session, lambda: session.outcome.measurements)  # made here
    session.run_on("")
    assert places == [server.url, ""] and not choices.place.url and choices.model.id == "ct_demo"


def test_cancel_and_failure_come_back(session, server, monkeypatch):
    connected(session, server, monkeypatch)
    session.jobs.start("segment", "segment", lambda _: None, volume=ct(1), model="gated", device="auto")
    server.until(lambda: server.starts)
    session.jobs.cancel()
    wait(session, lambda: done(session))
    assert session.jobs.run.phase is Phase.CANCELLED
    session.jobs.start("segment", "segment", lambda _: None, volume=ct(1), model="memory", device="auto")
    wait(session, lambda: done(session))
    assert session.jobs.run.error.code == "resource.memory"


def test_a_server_that_refuses_leaves_the_session_here(session, server, monkeypatch):
    with pytest.raises(UsageError, match="not a saved server"):
        session.run_on(server.url)
    known.KnownServers().save(server.url, "")
    monkeypatch.setenv("DEEPSEG_TOKEN", "wrong")
    session.run_on(server.url)
    wait(session, lambda: done(session))
    assert session.jobs.run.phase is Phase.FAILED and session.jobs.run.error.action == "give_token"
    assert session.choices.place.url == "" and session._client.server is None
