"""The worker: takes requests from one or more channels and carries them out one after the other."""

from __future__ import annotations

import faulthandler
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ..util.errors import Cancelled, DeepSegError, UsageError
from .channel import Channel
from .error_mapping import explain, to_message
from .serialization import SAME_VERSION

HEARTBEAT = 0.5
"""Seconds between two signs of life while a job runs."""

LOCKED_UP = 300.0
"""Seconds after which a process that cannot even send a heartbeat ends itself."""

Handler = Callable[..., Any]
"""``handler(job, **params) -> value``; params and value are anything that ``serialization`` can send."""


class Job:
    """One request while it is carried out: the first argument of a handler.

    Attributes:
        warm: a dict that outlives the job, for what the next one can reuse, such as the loaded network.
    """

    def __init__(self, number: int, name: str, params: dict[str, Any], channel: Channel, warm: dict[str, Any]) -> None:
        self.number, self.name, self.params, self.channel, self.warm = number, name, params, channel, warm
        self.stop = threading.Event()
        self.last_sign = time.monotonic()
        self._last_sent = ("", 0.0)

    def progress(self, stage: str, fraction: float, message: str = "") -> None:
        """As :data:`DeepSegLogic.util.progress.Progress`; may be called any number of times."""
        now = self.last_sign = time.monotonic()
        last_stage, sent = self._last_sent
        if stage != last_stage or fraction >= 1 or now - sent > 0.05:
            self._last_sent = (stage, now)
            self.tell(type="progress", stage=stage, fraction=float(fraction), message=message)

    def cancel(self) -> bool:
        """As :data:`DeepSegLogic.util.progress.Cancel`."""
        self.last_sign = time.monotonic()
        return self.stop.is_set()

    def warning(self, message: str) -> None:
        """Show the user a warning during the run."""
        self.tell(type="warning", message=message)

    def tell(self, **message: Any) -> None:
        """Post a message about this job."""
        self.channel.post({**message, "job": self.number})


class Worker:
    """Carries out all requests in the thread that calls :meth:`run`: cuDNN's plans and the state of some
    libraries belong to a thread.

    Args:
        handlers: name of a request → its function.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._jobs: list[Job] = []  # queued and running, of all channels
        self._lock = threading.Lock()
        self._warm: dict[str, Any] = {}

    def serve(self, channel: Channel) -> None:
        """Queue the requests of a channel until its other side ends; then cancel its open jobs."""
        try:
            while (message := channel.receive()) is not None:
                self._take(message, channel)
        except Exception as error:  # of an unknown job: end them all
            channel.post({**to_message(error), "job": None})
        finally:
            self._stop(lambda job: job.channel is channel)

    def run(self) -> None:
        """Work until the process ends, or the GPU is lost: only a new process gets it back."""
        threading.Thread(target=self._beat, name="deepseg-heartbeat", daemon=True).start()
        while True:
            job = self._queue.get()
            error = self._carry_out(job)
            with self._lock:
                self._jobs.remove(job)
            if error is not None and explain(error).code == "resource.device_lost":
                job.channel.finish(5.0)
                return

    def _take(self, message: dict[str, Any], channel: Channel) -> None:
        if message.get("type") == "cancel":
            wanted = message.get("job")
            self._stop(lambda job: job.channel is channel and wanted in (None, job.number))
        elif message.get("type") == "request":
            job = Job(message["job"], message["name"], message["params"], channel, self._warm)
            with self._lock:
                self._jobs.append(job)
                self._queue.put(job)

    def _stop(self, chosen: Callable[[Job], bool]) -> None:
        with self._lock:
            for job in filter(chosen, self._jobs):
                job.stop.set()

    def _carry_out(self, job: Job) -> BaseException | None:
        job.last_sign = time.monotonic()
        try:
            if job.stop.is_set():
                raise Cancelled()
            job.tell(type="started")
            handler = self._handlers.get(job.name)
            if handler is None:
                raise UsageError(f"Unknown request: {job.name!r}.", SAME_VERSION, code="usage.request")
            try:
                inspect.signature(handler).bind(job, **job.params)
            except TypeError as error:
                raise UsageError(f"Request {job.name!r}: {error}.", SAME_VERSION, code="usage.request") from error
            job.tell(type="result", value=handler(job, **job.params))
        except Exception as error:
            if not isinstance(error, DeepSegError):
                self._warm.clear()  # of any kind: free what is loaded, since memory may be short
            if not isinstance(error, Cancelled):
                traceback.print_exception(error)  # to the log
            job.tell(**to_message(error))
            traceback.clear_frames(error.__traceback__)  # frees the arrays in the frames
            return error
        finally:
            job.params = {}
        return None

    def _beat(self) -> None:
        while True:
            # A C library that never releases the GIL would keep this process alive after its parent's end.
            # This watchdog needs no GIL. It also logs where the process is.
            faulthandler.dump_traceback_later(LOCKED_UP, exit=True)
            time.sleep(HEARTBEAT)
            with self._lock:
                waiting = list(self._jobs)
            for job in waiting[:1]:
                silent = round(time.monotonic() - job.last_sign, 1)
                for channel in {j.channel for j in waiting}:
                    channel.post({"type": "heartbeat", "job": None, "silent": silent})
