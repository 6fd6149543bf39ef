"""A worker whose heavy requests go to a server: what a session polls, as it polls a worker on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from ..util.errors import Cancelled, DeepSegError
from ..util.progress import Cancel, Progress
from ..worker import Event, WorkerClient
from ..worker.error_mapping import explain

if TYPE_CHECKING:
    from .server import Server

_Requests: TypeAlias = "SimpleQueue[tuple[int, Callable[..., Any]] | None]"
"""Jobs with what to call; None ends the thread."""

_FIRST_JOB = 1 << 40  # jobs of the local worker are numbered from 1
_CHOOSING_S = 5.0  # somebody waits to hear whether a server can be reached


class RemoteWorker(WorkerClient):
    """A worker on this machine, and a server for segmenting, estimating and correcting with networks.

    Everything else stays here: it needs no GPU, and what it would send is larger than what it computes.

    Args:
        options: of :class:`~DeepSegLogic.worker.WorkerClient`.

    Attributes:
        server: where the next requests go; None for this machine.
    """

    def __init__(self, server: Server | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.server = server
        self._requests: _Requests = SimpleQueue()  # of the thread
        self._told: SimpleQueue[Event] = SimpleQueue()
        self._stops: dict[int, threading.Event] = {}  # open remote jobs
        self._thread: threading.Thread | None = None
        self._last_remote = _FIRST_JOB

    def submit(self, request: str, **params: Any) -> int:
        """As :meth:`WorkerClient.submit`; goes to the server if there is one and the request is for it."""
        if self.server is None or request not in _SENT:
            return super().submit(request, **params)
        if self._thread is None:
            self._requests = SimpleQueue()
            self._thread = threading.Thread(
                target=self._send_all, args=[self._requests], name="deepseg-remote", daemon=True
            )
            self._thread.start()
        self._last_remote += 1
        self._stops[self._last_remote] = threading.Event()
        server, call = self.server, _SENT[request]
        self._requests.put((self._last_remote, lambda **more: call(server, params, **more)))
        return self._last_remote

    def poll(self) -> list[Event]:
        """As :meth:`WorkerClient.poll`."""
        events = super().poll()
        while True:
            try:
                event = self._told.get_nowait()
            except Empty:
                return events
            if event.job in self._stops:
                events.append(event)
                if event.kind in ("result", "error"):
                    del self._stops[event.job]

    def is_open(self, job: int) -> bool:
        """As :meth:`WorkerClient.is_open`."""
        return job in self._stops or super().is_open(job)

    def cancel(self, job: int | None = None) -> None:
        """As :meth:`WorkerClient.cancel`; the job stops on the server, too."""
        for number, stop in self._stops.items():
            if job in (None, number):
                stop.set()
        super().cancel(job)

    def close(self) -> None:
        """As :meth:`WorkerClient.close`. Jobs on the server are cancelled; it is not waited for."""
        for stop in self._stops.values():
            stop.set()
        self._stops.clear()
        self._requests.put(None)
        self._thread = None
        super().close()

    def _send_all(self, requests: _Requests) -> None:
        while (item := requests.get()) is not None:
            job, call = item
            stop = self._stops.get(job)
            if stop is None:  # closed meanwhile
                continue
            self._told.put(Event("started", job))

            def progress(stage: str, fraction: float, message: str, job: int = job) -> None:
                self._told.put(Event("progress", job, stage, fraction, message))

            try:
                if stop.is_set():
                    raise Cancelled()
                self._told.put(Event("result", job, value=call(progress=progress, cancel=stop.is_set)))
            except Exception as error:  # of any kind: who waits must learn of it
                told: DeepSegError = explain(error)
                self._told.put(Event("error", job, message=str(told), error=told))


def _models(server: Server, _params: dict[str, Any], *, progress: Progress, cancel: Cancel) -> Any:
    return server.models(cancel=cancel, patience_s=_CHOOSING_S)


def _segment(server: Server, params: dict[str, Any], *, progress: Progress, cancel: Cancel) -> Any:
    return server.segment(**_without_device(params), progress=progress, cancel=cancel)


def _estimate(server: Server, params: dict[str, Any], *, progress: Progress, cancel: Cancel) -> Any:
    return server.estimate(**_without_device(params), progress=progress, cancel=cancel)


def _refine(server: Server, params: dict[str, Any], *, progress: Progress, cancel: Cancel) -> Any:
    from ..worker.handlers import refined

    return refined(server.refine(**_without_device(params), progress=progress, cancel=cancel))


def _without_device(params: dict[str, Any]) -> dict[str, Any]:
    """The server chooses its device."""
    return {name: value for name, value in params.items() if name != "device"}


_SENT = {"models": _models, "segment": _segment, "estimate": _estimate, "refine": _refine}
