"""What the worker was asked for, and who waits for the answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import Cancelled, DeepSegError, UsageError
from ..worker import Event, WorkerClient
from .run import Phase, Run
from .signal import Signal

Answer = Callable[[Any], None]
Failure = Callable[[DeepSegError], None]


@dataclass(frozen=True)
class _Waiting:
    """Who waits for a job: one of the two is called when it ends."""

    answer: Answer
    failed: Failure | None = None


class Jobs:
    """Requests to the worker. One at a time is the long task, which is shown; the others go on beside it.

    Args:
        changed: tells ``"run"`` and ``"log"``.

    Attributes:
        run: the long task.
        log: lines for the curious: what was done, what went wrong with its traceback.
    """

    def __init__(self, client: WorkerClient, changed: Signal):
        self.run = Run()
        self.log: list[str] = []
        self._client, self._changed = client, changed
        self._open: dict[int, _Waiting] = {}
        self._latest: dict[str, int] = {}  # request → job, of those of which only the last answer counts
        self._next: dict[str, tuple[Answer, dict[str, Any]]] = {}  # request → what to ask when that job has ended
        self._task: int | None = None  # job of ``run``
        self._heard: deque[Event] = deque()

    def submit(self, request: str, answer: Answer, failed: Failure | None = None, **params: Any) -> int:
        """Ask for something beside the long task; returns the job.

        Args:
            request, params: see :meth:`WorkerClient.submit`.
            answer: is given the result.
            failed: is given the error, if it comes to that.
        """
        job = self._client.submit(request, **params)
        self._open[job] = _Waiting(answer, failed)
        return job

    def submit_latest(self, request: str, answer: Answer, **params: Any) -> None:
        """Ask; while the worker is at such a request, only the last of those that follow is kept: strokes are many."""
        if self._latest.get(request) in self._open:
            self._next[request] = answer, params
        else:
            self._latest[request] = self.submit(request, answer, **params)

    def forget(self, job: int | None) -> None:
        """Nobody waits for this one any more."""
        self._open.pop(job, None)

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come, of the long task or of what goes on beside it."""
        return bool(self._open)

    def check_free(self) -> None:
        """Whether a long task can start.

        Raises:
            UsageError: one is under way.
        """
        if self.run.busy:
            raise UsageError("A task is under way.", "Wait for it, or cancel it.", code="usage.busy")

    def start(
        self,
        task: str,
        request: str,
        answer: Answer,
        failed: Failure | None = None,
        frame: tuple[int, int] | None = None,
        **params: Any,
    ) -> None:
        """Begin a long task.

        Args:
            task, frame: see :class:`Run`.
            request, answer, failed, params: see :meth:`submit`.

        Raises:
            UsageError: one is under way.
        """
        self.check_free()
        self.run = Run(task, Phase.RUNNING, stage="Starting", frame=frame)
        if frame is not None:
            self.run.fraction = (frame[0] - 1) / frame[1]
        self._task = self.submit(request, answer, failed, **params)
        self.write(f"{task}: started")
        self._changed.emit("run")

    def cancel(self) -> None:
        """Stop the long task."""
        if self.run.phase is Phase.RUNNING:
            self._client.cancel(self._task)
            self.run.phase, self.run.remaining_s = Phase.CANCELLING, None
            self._changed.emit("run")

    def poll(self) -> None:
        """Take in what happened, and give the answers to those who wait for them."""
        self._heard.extend(self._client.poll())
        while self._heard:  # what follows an event that somebody could not take in waits for the next call
            event = self._heard.popleft()
            if event.kind == "progress" and event.job == self._task:
                self.run.advance(event)
                self._changed.emit("run")
            elif event.kind in ("warning", "unresponsive"):
                self.run.warnings.append(event.message)
                self.write(event.message)
                self._changed.emit("run")
            elif event.kind == "result":
                self._finish(event)
            elif event.kind == "error":
                self._fail(event)

    def write(self, line: str) -> None:
        """Add to the log."""
        self.log.append(f"{time.strftime('%H:%M:%S')} {line}")
        self._changed.emit("log")

    def _finish(self, event: Event) -> None:
        waiting = self._close(event.job)
        if event.job == self._task:
            self.run.phase, self.run.fraction, self.run.remaining_s = Phase.DONE, 1.0, None
            self.write(f"{self.run.task}: done")
        if waiting is not None:
            waiting.answer(event.value)
        if event.job == self._task:
            self._changed.emit("run")

    def _fail(self, event: Event) -> None:
        waiting = self._close(event.job)
        cancelled = isinstance(event.error, Cancelled)
        if not cancelled:
            self.write(f"{event.error.code}: {event.error}\n{event.traceback}".rstrip())
        if waiting is not None and waiting.failed is not None:
            waiting.failed(event.error)
        if event.job == self._task:
            self.run.phase = Phase.CANCELLED if cancelled else Phase.FAILED
            self.run.error, self.run.remaining_s = event.error, None
            self._changed.emit("run")

    def _close(self, job: int) -> _Waiting | None:
        """Take note that a job has ended, and ask what was to follow it; returns who waits for its answer."""
        waiting = self._open.pop(job, None)
        for request in [r for r in self._next if self._latest[r] == job]:
            answer, params = self._next.pop(request)
            self.submit_latest(request, answer, **params)
        return waiting
