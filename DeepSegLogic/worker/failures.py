"""From exceptions and dead processes to sentences with a remedy, and across the wire."""

from __future__ import annotations

import signal
import traceback
from typing import Any

from .. import errors
from ..errors import DeepSegError, ResourceError

_SMALLER = "Close other programs, choose fewer structures or a coarser quality, then run again."
_REPORT = "Run again; the worker starts by itself. If it happens again, send us the log."


def explain(error: BaseException) -> DeepSegError:
    """The error that the user should see for any exception."""
    if isinstance(error, DeepSegError):
        return error
    if "OutOfMemoryError" in type(error).__name__:  # torch's, which is not imported here
        return ResourceError("The GPU has too little free memory.", _SMALLER, code="resource.gpu_memory")
    if isinstance(error, MemoryError):
        return ResourceError("The computer has too little free memory.", _SMALLER, code="resource.memory")
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return ResourceError(
            "The GPU stopped working during the run.",
            "Run again; if it happens again, update the GPU driver or choose the CPU.",
            code="resource.device_lost",
        )
    if isinstance(error, ModuleNotFoundError):
        return ResourceError(
            f"The Python package {error.name} is missing.",
            "Set up DeepSeg's packages, then run again.",
            code="resource.package",
        )
    return DeepSegError(f"Something unexpected happened ({type(error).__name__}: {error}).", _REPORT)


def to_message(error: BaseException) -> dict[str, Any]:
    """The ``error`` message for an exception: code, sentence, remedy, and the traceback for the log."""
    told = explain(error)
    return {
        "type": "error",
        "code": told.code,
        "message": told.message,
        "remedy": told.remedy,
        "traceback": "".join(traceback.format_exception(error)),
    }


def from_message(message: dict[str, Any]) -> DeepSegError:
    """The exception in an ``error`` message; the first part of its code says which class."""
    code = str(message.get("code", "internal"))
    family = code.split(".")[0]
    cls = next((c for c in vars(errors).values() if getattr(c, "code", None) == family), DeepSegError)
    return cls(str(message.get("message", "")), str(message.get("remedy", "")), code=code)


def why_it_died(exit_code: int, last_words: str, started: bool) -> DeepSegError:
    """What to tell about a worker process that ended without being asked.

    Args:
        exit_code: as ``subprocess`` gives it, negative for a signal.
        last_words: the last line of its log.
        started: it had said hello.
    """
    if exit_code in (-9, 137):  # 137: the same through a launcher script
        return ResourceError(
            "The worker process was killed, most likely because the computer ran out of memory.",
            _SMALLER,
            code="resource.killed",
        )
    if not started:
        return ResourceError(
            f"The worker process could not start (exit code {exit_code}: {last_words or 'no reason given'}).",
            "Set up DeepSeg's packages again, then run again.",
            code="resource.worker",
        )
    if exit_code < 0:
        names = {s.value: s.name for s in signal.Signals}  # of which real-time signals have none
        cause = f"crashed ({names.get(-exit_code, f'signal {-exit_code}')})"
    elif exit_code > 0xC0000000:  # Windows' exceptions
        cause = f"crashed ({exit_code:#x})"
    else:
        cause = f"ended (exit code {exit_code})"
    return DeepSegError(f"The worker process {cause}.", _REPORT, code="internal.crash")
