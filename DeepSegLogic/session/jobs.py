"""Requests to the worker, and who waits for the answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..data.label_map import LabelMap
from ..refinement.layers import editable
from ..util.errors import Cancelled, DeepSegError, UsageError
from ..util.i18n import tr as _
from ..worker import Event, WorkerClient
from .signal import Signal
from .task import Phase, Run

Answer = Callable[[Any], object]
"""Is called with the result of a request; see :mod:`DeepSegLogic.worker.handlers` for its type."""
Failure = Callable[[DeepSegError], object]
OF_A_VOLUME = ("segment", "open", "detect")
"""Long tasks whose result takes the place of what is shown. Cancelled in their last moment, when their result is on its
way, they bring none: its volume may be gone."""


@dataclass(frozen=True)
class _Waiting:
    """Who waits for a job: one of the two is called when it ends."""

    answer: Answer
    failed: Failure | None = None


class Jobs:
    """Requests to the worker. One at a time is the long task, which faces show; others run beside it.

    Attributes:
        run: the long task, or the last one.
        log: lines with times: what was done, and what went wrong with its traceback.
        run_changed: ``run`` is another one, or in another state.
        ended: the long task ended; whoever hears it may start the next one, or add to its summary and warnings.
            ``run_changed`` follows.
    """

    def __init__(self, client: WorkerClient) -> None:
        self.run = Run()
        self.log: list[str] = []
        self.run_changed: Signal[Run] = Signal()
        self.ended: Signal[Run] = Signal()
        self._client = client
        self._open: dict[int, _Waiting] = {}
        self._latest: dict[str, int] = {}  # request → job, of those of which only the last answer counts
        self._next: dict[str, tuple[Answer, Failure | None, dict[str, Any]]] = {}  # request → what to ask after it
        self._task: int | None = None  # job of ``run``
        self._heard: deque[Event] = deque()

    def submit(self, request: str, answer: Answer, failed: Failure | None = None, **params: Any) -> int:
        """Ask for something beside the long task; returns the job.

        Args:
            request, params: see :meth:`WorkerClient.submit`.
            answer: is called with the result.
            failed: is called with the error, if there is one.
        """
        job = self._client.submit(request, **params)
        self._open[job] = _Waiting(answer, failed)
        return job

    def submit_latest(self, request: str, answer: Answer, failed: Failure | None = None, **params: Any) -> None:
        """Ask; while the worker is busy with such a request, only the last one that follows is kept."""
        if self.asked(request):
            self._next[request] = answer, failed, params
        else:
            self._latest[request] = self.submit(request, answer, failed, **params)

    def asked(self, request: str) -> bool:
        """Whether the answer to the last such request, made by :meth:`submit_latest`, is still to come."""
        return self._latest.get(request) in self._open

    def forget(self, job: int | None) -> None:
        """Drop the answer of a job."""
        if job is not None:
            self._open.pop(job, None)

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come, of the long task or of others."""
        return bool(self._open)

    def check_free(self) -> None:
        """Check that a long task can start.

        Raises:
            UsageError: one is running.
        """
        if self.run.busy:
            raise UsageError(_("A task is running."), _("Wait for it, or cancel it."), code="usage.busy")

    def start(
        self,
        task: str,
        request: str,
        answer: Answer,
        failed: Failure | None = None,
        frame: tuple[int, int] | None = None,
        **params: Any,
    ) -> None:
        """Start a long task. Label maps are sent as they are now: the user may correct on while they wait their turn.

        Args:
            task, frame: see :class:`Run`.
            request, answer, failed, params: see :meth:`submit`.

        Raises:
            UsageError: one is running.
        """
        self.check_free()
        self.run = Run(task, Phase.RUNNING, stage=_("Starting"), frame=frame)
        if frame is not None:
            self.run.fraction = (frame[0] - 1) / frame[1]
        sent = {name: editable(value) if isinstance(value, LabelMap) else value for name, value in params.items()}
        self._task = self.submit(request, answer, failed, **sent)
        self.write(f"{task}: started")
        self.run_changed.emit(self.run)

    def cancel(self) -> None:
        """Stop the long task; what was there before it stays."""
        if self.run.phase is Phase.RUNNING:
            self._client.cancel(self._task)
            self.run.phase, self.run.remaining_s = Phase.CANCELLING, None
            self.run_changed.emit(self.run)

    def forget_run(self) -> None:
        """Stop showing the last long task."""
        if not self.run.busy:
            self.run = Run()
            self.run_changed.emit(self.run)

    def poll(self) -> None:
        """Take in what happened, and hand out the answers."""
        self._heard.extend(self._client.poll())
        while self._heard:  # if a listener fails, the events that follow wait for the next call
            event = self._heard.popleft()
            if event.kind == "progress" and event.job == self._task:
                self.run.advance(event)
                self.run_changed.emit(self.run)
            elif event.kind in ("warning", "unresponsive"):
                self.run.warnings.append(event.message)
                self.write(event.message)
                self.run_changed.emit(self.run)
            elif event.kind == "result":
                self._finish(event)
            elif event.kind == "error" and event.error is not None:
                self._fail(event, event.error)

    def write(self, line: str) -> None:
        """Add a line to the log."""
        self.log.append(f"{time.strftime('%H:%M:%S')} {line}")

    def _finish(self, event: Event) -> None:
        if event.job == self._task and self.run.phase is Phase.CANCELLING and self.run.task in OF_A_VOLUME:
            self._fail(event, Cancelled())
            return
        waiting, is_task = self._close(event.job), event.job == self._task
        if is_task:
            self.run.phase, self.run.fraction, self.run.remaining_s = Phase.DONE, 1.0, None
            self.write(f"{self.run.task}: done")
        try:
            if waiting is not None:
                waiting.answer(event.value)
        finally:
            if is_task:
                self._end()

    def _fail(self, event: Event, error: DeepSegError) -> None:
        waiting, is_task = self._close(event.job), event.job == self._task
        cancelled = isinstance(error, Cancelled)
        if not cancelled:
            self.write(f"{error.code}: {error}\n{event.traceback}".rstrip())
        if is_task:
            self.run.phase = Phase.CANCELLED if cancelled else Phase.FAILED
            self.run.error, self.run.remaining_s = error, None
        try:
            if waiting is not None and waiting.failed is not None:
                waiting.failed(error)
        finally:
            if is_task:
                self._end()

    def _end(self) -> None:
        try:
            self.ended.emit(self.run)
        finally:
            self.run_changed.emit(self.run)

    def _close(self, job: int | None) -> _Waiting | None:
        """Note that a job ended, and ask what was to follow it; returns who waits for its answer."""
        if job is None:
            return None
        waiting = self._open.pop(job, None)
        for request in [r for r in self._next if self._latest[r] == job]:
            answer, failed, params = self._next.pop(request)
            self.submit_latest(request, answer, failed, **params)
        return waiting
