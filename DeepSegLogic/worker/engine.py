"""The working side: takes requests from one or more channels and carries them out one after the other."""

from __future__ import annotations

import faulthandler
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Cancelled, DeepSegError, UsageError
from .channel import Channel
from .codec import SAME_VERSION
from .failures import explain, to_message

HEARTBEAT = 0.5
"""Seconds between two signs of life during work."""

LOCKED_UP = 300.0
"""Seconds after which a process that cannot even send a heartbeat ends itself."""

Handler = Callable[..., Any]
"""``handler(job, **params) -> value``; params and value are anything that ``codec`` can send."""


class Job:
    """One request while it is carried out: what a handler gets as its first argument.

    Attributes:
        warm: a dict that outlives the job, for what the next one can use again, e.g. the loaded network.
    """

    def __init__(self, number: int, name: str, params: dict[str, Any], channel: Channel, warm: dict):
        self.number, self.name, self.params, self.channel, self.warm = number, name, params, channel, warm
        self.stop = threading.Event()
        self.last_sign = time.monotonic()
        self._last_sent = ("", 0.0)

    def progress(self, stage: str, fraction: float, message: str = "") -> None:
        """As :data:`DeepSegLogic.progress.Progress`; may be called as often as one likes."""
        now = self.last_sign = time.monotonic()
        last_stage, sent = self._last_sent
        if stage != last_stage or fraction >= 1 or now - sent > 0.05:
            self._last_sent = (stage, now)
            self.tell(type="progress", stage=stage, fraction=float(fraction), message=message)

    def cancel(self) -> bool:
        """As :data:`DeepSegLogic.progress.Cancel`."""
        self.last_sign = time.monotonic()
        return self.stop.is_set()

    def warning(self, message: str) -> None:
        """Tell the user something during the run."""
        self.tell(type="warning", message=message)

    def tell(self, **message: Any) -> None:
        """Post a message about this job."""
        self.channel.post({**message, "job": self.number})


class Worker:
    """Carries out requests in the thread that calls :meth:`run`, always the same one: cuDNN's plans and
    some libraries' state belong to a thread.

    Args:
        handlers: name of a request → the function that carries it out.
    """

    def __init__(self, handlers: Mapping[str, Handler]):
        self._handlers = handlers
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._jobs: list[Job] = []  # queued and running, of all channels
        self._lock = threading.Lock()
        self._warm: dict = {}

    def serve(self, channel: Channel) -> None:
        """Queue what a channel asks for, until its other side ends; then cancel what is left of it."""
        try:
            while (message := channel.receive()) is not None:
                self._take(message, channel)
        except Exception as error:  # nobody knows whose job that was: end them all
            channel.post({**to_message(error), "job": None})
        finally:
            self._stop(lambda job: job.channel is channel)

    def run(self) -> None:
        """Work for ever, or until the GPU is lost: only a new process gets it back."""
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
                raise UsageError(f"The worker knows no request named {job.name!r}.", SAME_VERSION, code="usage.request")
            try:
                inspect.signature(handler).bind(job, **job.params)
            except TypeError as error:
                raise UsageError(f"Request {job.name!r}: {error}.", SAME_VERSION, code="usage.request") from error
            job.tell(type="result", value=handler(job, **job.params))
        except Exception as error:
            if not isinstance(error, DeepSegError):
                self._warm.clear()  # whatever it was, start afresh: memory may be what was missing
            if not isinstance(error, Cancelled):
                traceback.print_exception(error)  # to the log
            job.tell(**to_message(error))
            traceback.clear_frames(error.__traceback__)  # frees the arrays that the frames hold
            return error
        finally:
            job.params = {}
        return None

    def _beat(self) -> None:
        while True:
            # A C library that never gives the interpreter lock back would keep this process alive after its
            # parent's death; this watchdog needs no lock. It also writes where the process is to the log.
            faulthandler.dump_traceback_later(LOCKED_UP, exit=True)
            time.sleep(HEARTBEAT)
            with self._lock:
                waiting = list(self._jobs)
            for job in waiting[:1]:
                silent = round(time.monotonic() - job.last_sign, 1)
                for channel in {j.channel for j in waiting}:
                    channel.post({"type": "heartbeat", "job": None, "silent": silent})
