"""Real worker processes that serve ``faulty_handlers``; after each test nothing of them may be left."""

import os
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from DeepSegLogic.worker import ProcessLink, WorkerClient

HERE = Path(__file__).resolve().parent


def leftovers(prefix: str) -> list[str]:
    """Shared memory whose name begins so (Linux lists it as files)."""
    return sorted(p.name for p in Path("/dev/shm").glob(f"{prefix}*"))


def run_until(client, wanted, seconds=30):
    """Poll until ``wanted(event)`` is true for an event; returns all events up to it."""
    events, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        batch = client.poll()
        for i, event in enumerate(batch):
            events.append(event)
            if wanted(event):
                client._events[:0] = batch[i + 1 :]  # for the next call
                return events
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {seconds} s; events: {events}; log: {client.log}")


def is_end(event):
    return event.kind in ("result", "error")


def gone(pid: int, seconds=20) -> bool:
    """Whether a process ends within a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def test_handlers(monkeypatch):
    """Lets worker processes import the handlers beside this file."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))


@pytest.fixture
def new_client(test_handlers):
    """Makes clients of real processes; checks that nothing is left of them in the end."""
    clients, links = [], []

    def link(**options):
        links.append(ProcessLink(**{"handlers": "faulty_handlers", **options}))
        return links[-1]

    def make(python=None, handlers="faulty_handlers", **options):
        clients.append(WorkerClient(partial(link, python=python, handlers=handlers), **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    for used in links:
        assert leftovers(used.share) == []
        assert used._process is None or used._process.returncode is not None, "a process was not reaped"


@pytest.fixture
def client(new_client):
    return new_client()
