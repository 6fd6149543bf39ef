"""The client of a worker, in plain Python and polled: nothing here blocks, nothing calls back.

Life of a worker: ``stopped`` → ``starting`` → ``ready`` ⇄ ``busy`` (→ ``cancelling``) → ``stopped``, or
``dead`` if it ended by itself; :attr:`WorkerClient.reason` then says why. The next ``submit`` starts a new one.

Example:
    >>> with WorkerClient() as client:
    ...     job = client.submit("segment", volume=volume, model="ct_demo")
    ...     while client.is_open(job):
    ...         for event in client.poll():
    ...             print(event.kind, event.stage, event.fraction, event.message)
    ...         time.sleep(0.05)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from queue import Empty
from typing import Any

from ..util.errors import Cancelled, DeepSegError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .connection import Connection
from .error_mapping import from_message
from .transports import Link, ProcessLink


class WorkerState(str, Enum):
    """State of a worker."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    CANCELLING = "cancelling"
    DEAD = "dead"


@dataclass(frozen=True)
class Event:
    """Something that happened. Every job ends with exactly one ``result`` or ``error``.

    Attributes:
        kind: ``"state"`` (``message`` is the new one), ``"started"``, ``"progress"``, ``"warning"``,
            ``"unresponsive"``, ``"result"`` or ``"error"``.
        job: number of the job, or None.
        stage, fraction, message: of progress; ``fraction`` of the stage is 0 to 1.
        value: of a result: what the request's handler returned.
        error: of an error; :class:`~DeepSegLogic.util.errors.Cancelled` if the job was cancelled.
        traceback: of an error, for the log.
    """

    kind: str
    job: int | None = None
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    value: Any = None
    error: DeepSegError | None = None
    traceback: str = ""


class WorkerClient:
    """Sends requests to a worker.

    Args:
        link: connects to a new worker: :class:`ProcessLink` (a child process; choose its interpreter with
            ``functools.partial(ProcessLink, python=...)``).
        grace: seconds until a cancelled job that does not stop has its worker killed.
        patience: seconds without a sign of life after which the worker counts as hung.

    Call all methods from one thread, usually that of the user interface.
    """

    def __init__(self, link: Callable[[], Link] = ProcessLink, *, grace: float = 5.0, patience: float = 60.0) -> None:
        self._new_link = link
        self.grace, self.patience = grace, patience
        self.reason: DeepSegError | None = None
        self._connection: Connection | None = None
        self._log: list[str] = []
        self._events: list[Event] = []
        self._jobs: dict[int, float | None] = {}  # open jobs → end of the grace of cancelled ones
        self._last_job = 0
        self._told_state, self._told_hung = WorkerState.STOPPED, False

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> WorkerState:
        """The worker's state as of the last ``poll``."""
        if self._connection is None:
            return WorkerState.DEAD if self.reason else WorkerState.STOPPED
        if not self._connection.hello:
            return WorkerState.STARTING
        if any(deadline is not None for deadline in self._jobs.values()):
            return WorkerState.CANCELLING
        return WorkerState.BUSY if self._jobs else WorkerState.READY

    @property
    def hello(self) -> dict[str, Any]:
        """``pid``, ``python`` and ``deepseg`` of the running worker; empty until it has connected."""
        return self._connection.hello if self._connection else {}

    @property
    def log(self) -> list[str]:
        """The last lines that this worker, or else the last one, wrote to stdout and stderr."""
        return list(self._connection.link.log) if self._connection else self._log

    @property
    def responding(self) -> bool:
        """False after ``patience`` seconds without a sign of life while starting or working."""
        connection = self._connection
        if connection is None or (connection.hello and not self._jobs):
            return True
        return time.monotonic() - connection.last_sign < self.patience

    def is_open(self, job: int) -> bool:
        """True until ``poll`` has returned the job's ``result`` or ``error``."""
        return job in self._jobs or any(e.job == job and e.kind in ("result", "error") for e in self._events)

    def start(self) -> None:
        """Start the worker if none runs, for example while the user still chooses a file."""
        self._started()

    def submit(self, request: str, **params: Any) -> int:
        """Send a request; returns the job's number. Jobs run in order. Do not change arrays before the job has
        ``started``.

        Args:
            request: name of a handler of :mod:`DeepSegLogic.worker.handlers`, for example ``"segment"``.
            params: its keyword arguments.

        Raises:
            UsageError: a parameter cannot be sent.
        """
        self._collect()
        connection = self._started()
        job = self._last_job + 1
        connection.channel.post({"type": "request", "job": job, "name": request, "params": params})
        if not self._jobs:
            connection.last_sign = time.monotonic()
        self._last_job = job
        self._jobs[job] = None
        return job

    def poll(self) -> list[Event]:
        """What happened since the last call. Call it every 50 to 100 ms."""
        self._collect()
        now = time.monotonic()
        deadline = next(iter(self._jobs.values()), None)  # of the job that runs: the others wait for it
        if deadline is not None and now > deadline:
            self.kill()
        if self.responding:
            self._told_hung = False
        elif not self._told_hung:
            self._told_hung = True
            message = f"The worker has given no sign of life for {self.patience:.0f} s."
            self._events.append(Event("unresponsive", message=message))
        if self.state != self._told_state:
            self._told_state = self.state
            self._events.append(Event("state", message=self.state.value))
        events, self._events = self._events, []
        return events

    def cancel(self, job: int | None = None) -> None:
        """Stop one job, or all. It ends with a ``Cancelled`` error, at the latest ``grace`` seconds after its turn."""
        if self._connection is None:  # and so there are no jobs
            return
        chosen = [j for j, deadline in self._jobs.items() if deadline is None and job in (None, j)]
        for number in chosen:
            self._jobs[number] = time.monotonic() + self.grace
            self._connection.channel.post({"type": "cancel", "job": number})

    def kill(self) -> None:
        """End the worker at once, for example when it hangs. Open jobs end with an error."""
        if self._connection is not None:
            self._connection.kill()

    def close(self) -> None:
        """End the worker and free its resources. Events that ``poll`` has not returned are lost."""
        if self._connection is not None:
            self.kill()
            self._connection.thread.join()
            self._collect()
        self.reason = None
        self._events.clear()

    def call(
        self,
        request: str,
        *,
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
        **params: Any,
    ) -> Any:
        """Send a request and wait for the result: for scripts, which have no event loop to poll from.

        Raises:
            DeepSegError: the error that ended the job, for example ``Cancelled``.
        """
        job = self.submit(request, **params)
        while True:
            for event in self.poll():
                if event.kind == "progress" and event.job == job:
                    progress(event.stage, event.fraction, event.message)
                elif event.kind == "result" and event.job == job:
                    return event.value
                elif event.error is not None and event.job == job:
                    raise event.error
            if cancel():
                self.cancel(job)
            time.sleep(0.02)

    def _started(self) -> Connection:
        if self._connection is None:
            self.reason, self._told_hung = None, False
            self._connection = Connection(self._new_link())
        return self._connection

    def _collect(self) -> None:
        while self._connection is not None:
            try:
                message = self._connection.inbox.get_nowait()
            except Empty:
                return
            if isinstance(message, DeepSegError):
                self._ended(self._connection, message)
            else:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind, job = message.get("type"), message.get("job")
        if kind in ("started", "progress", "warning") and job in self._jobs:
            fields = {key: message[key] for key in ("stage", "fraction", "message") if key in message}
            self._events.append(Event(kind, job, **fields))
        elif kind == "result" and job in self._jobs:
            self._remove(job)
            self._events.append(Event("result", job, value=message.get("value")))
        elif kind == "error" and job in self._jobs:
            self._remove(job)
            self._events.append(_failed(job, from_message(message), message.get("traceback", "")))

    def _remove(self, job: int) -> None:
        """Forget a job that has ended; the grace of the next one, if it was cancelled, begins."""
        del self._jobs[job]
        following = next(iter(self._jobs), None)
        if following is not None and self._jobs[following] is not None:
            self._jobs[following] = time.monotonic() + self.grace

    def _ended(self, connection: Connection, reason: DeepSegError) -> None:
        """The worker has ended, and with it all its jobs."""
        self._log = list(connection.link.log)
        self._connection = None
        self.reason = None if connection.killed else reason
        for job, deadline in self._jobs.items():
            self._events.append(_failed(job, reason if deadline is None else Cancelled()))
        self._jobs.clear()


def _failed(job: int, error: DeepSegError, traceback: str = "") -> Event:
    return Event("error", job, message=str(error), error=error, traceback=traceback)
