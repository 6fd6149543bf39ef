"""Exceptions and dead processes as errors with a remedy, and errors as messages."""

from __future__ import annotations

import errno
import signal
import traceback
from typing import Any

from ..util import errors
from ..util.errors import DeepSegError, ResourceError, checked_action

_SMALLER = "Close other programs, choose fewer structures or a coarser quality, then run again."
_PAGING_FILE = 1455  # of Windows: the paging file is too small, as for libraries of CUDA
_REPORT = "Run again; the worker restarts by itself. If it happens again, report it with the log."


def explain(error: BaseException) -> DeepSegError:
    """The error that the user should see for any exception."""
    if isinstance(error, DeepSegError):
        return error
    if "OutOfMemoryError" in type(error).__name__:  # torch's, which is not imported here
        return ResourceError("The GPU is out of memory.", _SMALLER, code="resource.gpu_memory")
    if isinstance(error, MemoryError) or _lacks_memory(error):
        return ResourceError("The computer is out of memory.", _SMALLER, code="resource.memory")
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
    return DeepSegError(f"Unexpected error ({type(error).__name__}: {error}).", _REPORT)


def _lacks_memory(error: BaseException) -> bool:
    """Whether the system said so, as it does for files that are mapped and for libraries that are loaded."""
    if not isinstance(error, OSError):
        return False
    return error.errno == errno.ENOMEM or getattr(error, "winerror", None) == _PAGING_FILE


def to_message(error: BaseException) -> dict[str, Any]:
    """The ``error`` message for an exception: code, message, remedy, action, and the traceback for the log."""
    told = explain(error)
    return {
        "type": "error",
        "code": told.code,
        "message": told.message,
        "remedy": told.remedy,
        "action": told.action,
        "details": told.details,
        "traceback": "".join(traceback.format_exception(error)),
    }


def from_message(message: dict[str, Any]) -> DeepSegError:
    """The exception in an ``error`` message; the first part of its code gives the class."""
    code = str(message.get("code", "internal"))
    family = code.split(".")[0]
    cls = next((c for c in vars(errors).values() if getattr(c, "code", None) == family), DeepSegError)
    error = cls(str(message.get("message", "")), str(message.get("remedy", "")), code=code)
    error.action, error.details = checked_action(message.get("action"), message.get("details"))
    return error


def why_it_died(exit_code: int, last_line: str, started: bool) -> DeepSegError:
    """The error for a worker process that ended without being asked.

    Args:
        exit_code: as ``subprocess`` gives it, negative for a signal.
        last_line: the last line of its log.
        started: whether it had connected.
    """
    if exit_code in (-9, 137):  # 137: the same through a launcher script
        return ResourceError(
            "The worker process was killed, most likely because the computer ran out of memory.",
            _SMALLER,
            code="resource.killed",
        )
    if not started:
        return ResourceError(
            f"The worker process could not start (exit code {exit_code}: {last_line or 'no reason given'}).",
            "Set up DeepSeg's packages again, then run again.",
            code="resource.worker",
        )
    if exit_code < 0:
        names = {s.value: s.name for s in signal.Signals}  # real-time signals have no names
        cause = f"crashed ({names.get(-exit_code, f'signal {-exit_code}')})"
    elif exit_code > 0xC0000000:  # exceptions on Windows
        cause = f"crashed ({exit_code:#x})"
    else:
        cause = f"ended (exit code {exit_code})"
    return DeepSegError(f"The worker process {cause}.", _REPORT, code="internal.crash")
