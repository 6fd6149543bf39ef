"""Gives jobs to worker processes, one per device, and notes what these tell."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..remote.protocol import error_to_json
from ..util.errors import Cancelled, DeepSegError
from ..worker import Event, ProcessLink, WorkerClient
from .jobs import Job, Jobs
from .settings import Settings
from .volumes import disk_full

log = logging.getLogger(__name__)

_PAUSE_S = 0.05
_MOST_WARNINGS = 100


@dataclass
class _Seat:
    """A worker process and what it does."""

    client: WorkerClient
    device: str
    job: Job | None = None
    number: int = 0
    cancelled: bool = False


class Dispatcher:
    """The thread between jobs and workers.

    Args:
        folder: with a folder for each user.
    """

    def __init__(self, jobs: Jobs, folder: Path, settings: Settings) -> None:
        self._jobs, self._folder = jobs, folder
        link = partial(ProcessLink, handlers=settings.handlers)
        self._seats = [_Seat(WorkerClient(link), device) for device in settings.devices]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deepseg-dispatch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the workers. What ran is queued again when the server starts the next time."""
        self._stopped.set()
        self._thread.join()
        for seat in self._seats:
            seat.client.close()

    def _run(self) -> None:
        while not self._stopped.wait(_PAUSE_S):
            for seat in self._seats:
                try:
                    self._tend(seat)
                except Exception:  # such as a full disk: the other seats go on
                    log.exception("A job could not be handled.")

    def _tend(self, seat: _Seat) -> None:
        for event in seat.client.poll():
            self._hear(seat, event)
        if seat.job is None:
            self._begin(seat)
        elif seat.job.stop and not seat.cancelled:
            seat.cancelled = True
            seat.client.cancel(seat.number)

    def _begin(self, seat: _Seat) -> None:
        job = self._jobs.take_next()
        if job is None:
            return
        seat.job, seat.cancelled = job, False
        log.info("%s begins on %s.", job.described, seat.device)
        try:
            seat.number = seat.client.submit(
                "run",
                wanted=job.request,
                volumes=str(self._folder / job.user / "volumes"),
                output=str(self._jobs.place(job)),
                device=seat.device,
            )
        except DeepSegError as error:
            self._end(seat, "failed", error)

    def _hear(self, seat: _Seat, event: Event) -> None:
        job = seat.job
        if job is None or event.job != seat.number:
            return
        if event.kind == "progress":
            job.stage, job.fraction, job.message = event.stage, event.fraction, event.message
        elif event.kind == "warning" and len(job.warnings) < _MOST_WARNINGS:
            job.warnings.append(event.message)
        elif event.kind == "result":
            self._end(seat, "done")
        elif event.error is not None:
            self._end(seat, "cancelled" if isinstance(event.error, Cancelled) else "failed", event.error)
            if event.error.code == DeepSegError.code:  # others quote the request, as the names of its structures
                log.warning("Unexpected error.\n%s", event.traceback)

    def _end(self, seat: _Seat, state: str, error: DeepSegError | None = None) -> None:
        assert seat.job is not None
        job, seat.job = seat.job, None
        if error is not None and error.code == "output.disk_full":
            error = disk_full()
        told = None if error is None else error_to_json(error)
        if told is not None:  # nobody needs to know where the server keeps its files
            told["message"] = told["message"].replace(str(self._folder), "the server's folder")
        self._jobs.end(job, state, told)
        log.info("%s: %s%s.", job.described, state, f" ({error.code})" if error and state == "failed" else "")
