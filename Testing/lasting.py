"""Workers that outlast their clients, for tests that are about something else than a worker's start and end.

A client that closes leaves its worker, if that has nothing to do, to the next client that would start an equal one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from DeepSegLogic.worker import ProcessLink, WorkerClient
from DeepSegLogic.worker.connection import Connection


class Spare:
    """At most one idle worker for each module of handlers."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Connection, int]] = {}

    def keep(self, connection: Connection, jobs: int) -> None:
        """Keep a worker that has done this number of jobs."""
        self._end(connection.link._handlers)
        self._kept[connection.link._handlers] = connection.link.kind, connection, jobs

    def take(self, link: ProcessLink) -> tuple[Connection, int] | None:
        """A worker as this link would start one, which it then need not."""
        link.kind = _kind()
        kind, connection, jobs = self._kept.get(link._handlers, (None, None, 0))
        if kind != link.kind or not connection.inbox.empty():  # the latter if it has ended
            return None
        del self._kept[link._handlers]
        return connection, jobs

    def close(self) -> None:
        for handlers in [*self._kept]:
            self._end(handlers)

    def _end(self, handlers: str) -> None:
        if handlers in self._kept:
            _, connection, _ = self._kept.pop(handlers)
            connection.kill()
            connection.thread.join()


def _kind() -> object:
    """What a worker has from the process that starts it."""
    return Path.cwd(), {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@contextmanager
def workers(spare: Spare) -> Iterator[None]:
    """In the ``with`` block, clients take their workers from those that are to spare, and leave them there."""
    close, started = WorkerClient.close, WorkerClient._started

    def leave(client: WorkerClient) -> None:
        connection = client._connection
        if connection is not None and connection.hello and not (client._jobs or connection.killed):
            client._collect()
            if client._connection is not None and isinstance(connection.link, ProcessLink):
                client._connection = None
                spare.keep(connection, client._last_job)
        close(client)

    def take(client: WorkerClient) -> Connection:
        if client._connection is None and isinstance(link := client._new_link(), ProcessLink):
            if found := spare.take(link):
                client._connection, client._last_job = found
                client.reason, client._told_hung = None, False
            else:
                with patch.object(client, "_new_link", lambda: link):
                    return started(client)
        return started(client)

    with patch.object(WorkerClient, "close", leave), patch.object(WorkerClient, "_started", take):
        yield
