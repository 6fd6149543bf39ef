"""The first two messages: version of the protocol, and names of shared memory."""

from __future__ import annotations

import os
import platform
from typing import Any

from ..util.errors import DeepSegError, ResourceError, UsageError
from .channel import VERSION, Channel
from .error_mapping import from_message, to_message
from .serialization import SAME_VERSION


def greet_worker(channel: Channel, *, share: str = "") -> dict[str, Any]:
    """The client's side. Returns the worker's hello: version, pid, deepseg, python.

    Args:
        share: prefix of the names of shared memory blocks; empty for none.

    Raises:
        DeepSegError: the worker refuses, has another version, or closed the connection (``"resource.worker"``).
    """
    try:
        channel.send({"type": "hello", "version": VERSION, "share": share})
        answer = channel.receive()
    except OSError:
        answer = None
    if answer is None:
        raise ResourceError("The worker closed the connection.", "Start it again.", code="resource.worker")
    if answer.get("type") == "error":
        raise from_message(answer)
    if answer.get("type") != "hello" or answer.get("version") != VERSION:
        raise _other_version(answer.get("version"))
    if share:
        channel.share(mine=f"{share}c", theirs=f"{share}w")
    return answer


def greet_client(channel: Channel) -> None:
    """The worker's side.

    Raises:
        DeepSegError: the client is refused; it has been told why.
    """
    from ..util.version import __version__  # looked up here

    hello = channel.receive()
    try:
        if hello is None or hello.get("type") != "hello":
            raise UsageError("The first message must be a hello.", code="usage.protocol")
        if hello.get("version") != VERSION:
            raise _other_version(hello.get("version"))
    except DeepSegError as error:
        channel.send(to_message(error))
        raise
    channel.send(
        {
            "type": "hello",
            "version": VERSION,
            "pid": os.getpid(),
            "deepseg": __version__,
            "python": platform.python_version(),
        }
    )
    share = str(hello.get("share", ""))
    if share:
        channel.share(mine=f"{share}w", theirs=f"{share}c")


def _other_version(theirs: Any) -> DeepSegError:
    return UsageError(
        f"The other side uses version {theirs} of DeepSeg's protocol, this side version {VERSION}.",
        SAME_VERSION,
        code="usage.protocol",
    )
