"""A job on a server, from its beginning to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..util.errors import Cancelled, DeepSegError
from ..util.progress import Cancel, Progress, check
from .connection import Connection, bounded
from .protocol import error_from_json, json_from

_LONGEST_EVENT = 1 << 20
_LAST_WORD_S = 2.0
_ENDED = ("done", "failed", "cancelled")


def follow(
    connection: Connection, job: str, request: dict[str, Any], progress: Progress, cancel: Cancel
) -> dict[str, Any]:
    """Queue a job unless the server has it, and follow it; returns its last state.

    A lost connection is made again. ``cancel`` stops the job on the server, too.

    Returns:
        ``state``: ``"done"``, ``"failed"`` or ``"cancelled"``; ``error`` of a failed one.

    Raises:
        DeepSegError: the server refuses, has lost the job, or cannot be reached.
        Cancelled: ``cancel`` said so.
    """
    state = _checked(connection.ask("PUT", f"/jobs/{job}", json=request, cancel=cancel))
    if state["state"] in ("failed", "cancelled"):  # of an earlier call
        connection.ask("DELETE", f"/jobs/{job}")
        state = _checked(connection.ask("PUT", f"/jobs/{job}", json=request, cancel=cancel))
    lost_since: float | None = None
    while state["state"] not in _ENDED:
        try:
            for told in _events(connection, job, cancel):
                lost_since = None
                if told is not None:
                    state = _checked(told)
                    _show(state, progress)
                check(cancel)
        except Cancelled:
            with suppress(DeepSegError):  # if it cannot be reached, it finishes the job, which helps the next call
                connection.ask("DELETE", f"/jobs/{job}", patience_s=_LAST_WORD_S)
            raise
        except DeepSegError as error:
            if error.code != "resource.connection":
                raise
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > connection.patience_s:
                raise
            progress("wait", 0.0, "connection lost; trying again")
            time.sleep(0.2)
    if state["state"] == "failed":
        state["error"] = error_from_json(state.get("error"))
    return state


def _events(connection: Connection, job: str, cancel: Cancel) -> Iterator[object]:
    """The states of a job as they come; None for a sign of life."""
    with connection.opened("GET", f"/jobs/{job}/events", cancel=cancel) as response:
        waiting = b""
        for piece in bounded(response, 1 << 40):
            waiting += piece
            *whole, waiting = waiting.split(b"\n\n")
            if len(waiting) > _LONGEST_EVENT:
                raise error_from_json(None)
            for event in whole:
                data = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
                yield json_from(b"\n".join(data)) if data else None


def _checked(state: object) -> dict[str, Any]:
    if isinstance(state, dict) and state.get("state") in ("queued", "running", *_ENDED):
        place, fraction = state.get("place"), state.get("fraction")
        if isinstance(place, int) and isinstance(fraction, int | float):
            return state
    raise error_from_json(None)


def _show(state: dict[str, Any], progress: Progress) -> None:
    if state["state"] == "queued":
        before = state["place"]
        progress("wait", 0.0, f"{before} {'job' if before == 1 else 'jobs'} before yours" if before else "next in line")
    elif stage := str(state.get("stage", ""))[:100]:
        progress(stage, min(1.0, max(0.0, float(state["fraction"]))), str(state.get("message", ""))[:500])
