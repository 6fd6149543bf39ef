"""The first two messages: who speaks which version of the protocol, and may they."""

from __future__ import annotations

import hmac
import os
import platform
from typing import Any

from .. import __version__
from ..errors import DeepSegError, ResourceError, UsageError
from .channel import VERSION, Channel
from .codec import SAME_VERSION
from .failures import from_message, to_message


def greet(channel: Channel, *, token: str = "", share: str = "") -> dict[str, Any]:
    """The client's side. Returns the worker's hello: version, pid, deepseg, python.

    Args:
        token: what proves to a service that we may use it.
        share: begin of the names of shared memory blocks; empty for none.

    Raises:
        DeepSegError: the worker refuses, speaks another version, or hung up (``code`` ``"resource.worker"``).
    """
    try:
        channel.send({"type": "hello", "version": VERSION, "token": token, "share": share})
        answer = channel.receive()
    except OSError:
        answer = None
    if answer is None:
        raise ResourceError("The worker hung up.", "Start it again.", code="resource.worker")
    if answer.get("type") == "error":
        raise from_message(answer)
    if answer.get("type") != "hello" or answer.get("version") != VERSION:
        raise _other_version(answer.get("version"))
    if share:
        channel.share(mine=f"{share}c", theirs=f"{share}w")
    return answer


def welcome(channel: Channel, *, token: str = "", may_share: bool = False) -> None:
    """The worker's side.

    Raises:
        DeepSegError: the client must go; it has been told why.
    """
    hello = channel.receive()
    try:
        if hello is None or hello.get("type") != "hello":
            raise UsageError("The first message must be a hello.", code="usage.protocol")
        if not hmac.compare_digest(str(hello.get("token", "")).encode(), token.encode()):
            raise UsageError("The token is wrong.", "Use the one that the service was started with.",
                             code="usage.token")  # fmt: skip
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
    if may_share and share:
        channel.share(mine=f"{share}w", theirs=f"{share}c")


def _other_version(theirs: Any) -> DeepSegError:
    return UsageError(
        f"The other side speaks version {theirs} of DeepSeg's protocol, this one {VERSION}.",
        SAME_VERSION,
        code="usage.protocol",
    )
