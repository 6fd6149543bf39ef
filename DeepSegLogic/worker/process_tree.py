"""A worker process and the programs that it and its libraries start: they end with it, however it ends.

On POSIX they are a process group, which the worker ends with itself, or else its client. On Windows they are a job
object of the worker's own: the system closes it with the worker and then ends the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Flag for new processes: without it, Windows shows a console over Slicer."""

_LIMITS, _FLAGS = 36, 4  # of JOBOBJECT_EXTENDED_LIMIT_INFORMATION: its length and LimitFlags, in words of 32 bits
_EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
_KILL_ON_CLOSE = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE


def hold_children() -> None:
    """In the worker, before it starts any program: on Windows, let them end with this process.

    The handle of the job stays open until the process ends. A system that refuses leaves them as they are.
    """
    if sys.platform == "win32":
        import ctypes
        from ctypes.wintypes import HANDLE

        kernel = ctypes.windll.kernel32
        limits = (ctypes.c_uint32 * _LIMITS)()
        limits[_FLAGS] = _KILL_ON_CLOSE
        job = HANDLE(kernel.CreateJobObjectW(None, None))
        kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        kernel.AssignProcessToJobObject(job, HANDLE(kernel.GetCurrentProcess()))


def end_own() -> None:
    """In the worker: end this process and what it started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)  # on Windows, this closes the job


def kill(process: subprocess.Popen[bytes]) -> None:
    """In the client: end a worker, if it still runs, and what it started."""
    if sys.platform == "win32":
        # All below it, since PythonSlicer.exe starts the worker as its child
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False, creationflags=NO_WINDOW)
        return
    with suppress(ProcessLookupError, PermissionError):  # all gone; macOS raises the latter for zombies
        os.killpg(process.pid, signal.SIGKILL)  # its own group: the worker was started in a new session
