"""The connection to one worker, from its start to its end."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Any

from ..util.errors import DeepSegError, ResourceError
from .channel import Channel
from .error_mapping import explain, from_message
from .handshake import greet_worker
from .transports import Link


class Connection:
    """The threads of one worker's connection. They only move messages; the client reads these in ``poll``.

    Attributes:
        inbox: messages in the order they came; the last item is the error that says why the worker ended.
        hello: the worker's first message; empty until then.
        last_sign: time of the last sign of life, by ``time.monotonic``.
        killed: whether ``kill`` was called.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.channel = Channel()
        self.inbox: SimpleQueue[dict[str, Any] | DeepSegError] = SimpleQueue()
        self.hello: dict[str, Any] = {}
        self.last_sign = time.monotonic()
        self.killed = False
        self.thread = threading.Thread(target=self._keep, name="deepseg-worker", daemon=True)
        self.thread.start()

    def kill(self) -> None:
        """End the worker at once."""
        self.killed = True
        self.link.kill()

    def _keep(self) -> None:
        try:
            end = self._live()
        except Exception as error:  # of any kind: the client must learn that nothing more comes
            end = explain(error)
        self.inbox.put(end)

    def _live(self) -> DeepSegError:
        """Run from start to end; returns why it ended."""
        failure: DeepSegError | None = None
        try:
            self.link.open(self.channel)
        except DeepSegError as error:
            return error
        if self.killed:  # before there was a process to kill
            self.link.kill()
        try:
            hello = greet_worker(self.channel, share=self.link.share)
            self.channel.start()
            self.last_sign = time.monotonic()
            self.hello = hello
            while (message := self.channel.receive()) is not None:
                if message.get("type") == "error" and message.get("job") is None:  # it ends the connection
                    raise from_message(message)
                self._heard(message)
        except Exception as error:
            failure = explain(error)
        reason = self.link.why_it_ended(started=bool(self.hello))
        self.channel.close()
        if self.killed:
            return ResourceError("The worker was stopped.", "Run again.", code="resource.stopped")
        return reason if failure is None or failure.code == "resource.worker" else failure

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("type") == "heartbeat":  # the process lives; ``silent`` tells about the job
            self.last_sign = max(self.last_sign, time.monotonic() - float(message["silent"]))
        else:
            self.last_sign = time.monotonic()
            self.inbox.put(message)
