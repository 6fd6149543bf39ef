"""One worker's life as the client's threads see it, from start to end."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Any

from ..errors import DeepSegError, ResourceError
from .channel import Channel
from .failures import explain, from_message
from .handshake import greet
from .links import Link


class Connection:
    """The threads of one worker's life. They only move messages; the client looks at them in ``poll``.

    Attributes:
        inbox: what the worker told, as it came; the last item is the error that says why it ended.
        hello: what it said of itself; empty before that.
        last_sign: when it last showed that it works, by ``time.monotonic``.
        killed: whether that was asked for.
    """

    def __init__(self, link: Link):
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
        except Exception as error:  # whatever it is, the client must learn that nothing more will come
            end = explain(error)
        self.inbox.put(end)

    def _live(self) -> DeepSegError:
        """From start to end; returns why it ended."""
        failure: DeepSegError | None = None
        try:
            self.link.open(self.channel)
        except DeepSegError as error:
            return error
        if self.killed:  # before there was anything to kill
            self.link.kill()
        try:
            hello = greet(self.channel, token=self.link.token, share=self.link.share)
            self.channel.start()
            self.last_sign = time.monotonic()
            self.hello = hello
            while (message := self.channel.receive()) is not None:
                if message.get("type") == "error" and message.get("job") is None:  # it ends the conversation
                    raise from_message(message)
                self._heard(message)
        except Exception as error:
            failure = explain(error)
        reason = self.link.autopsy(started=bool(self.hello))
        self.channel.close()
        if self.killed:
            return ResourceError("The worker was stopped.", "Run again.", code="resource.stopped")
        return reason if failure is None or failure.code == "resource.worker" else failure

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("type") == "heartbeat":  # the worker lives, but does the job?
            self.last_sign = max(self.last_sign, time.monotonic() - float(message["silent"]))
        else:
            self.last_sign = time.monotonic()
            self.inbox.put(message)
