"""How a client reaches a worker: as a child process, or over a socket."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..errors import DeepSegError, ResourceError
from . import shared
from .channel import Channel
from .failures import why_it_died

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class Link(Protocol):
    """One life of a worker, as the client sees it.

    Attributes:
        token, share: for :func:`~DeepSegLogic.worker.handshake.greet`.
        log: the last lines that the worker's libraries wrote.
    """

    token: str
    share: str
    log: deque[str]

    def open(self, channel: Channel) -> None:
        """Reach the worker and connect ``channel`` to it."""

    def kill(self) -> None:
        """End it at once, with everything that it started. Callable from any thread, at any time."""

    def autopsy(self, started: bool) -> DeepSegError:
        """Called once the worker hung up: wait for its end, clean up, and say why."""


def default_python() -> str:
    """The interpreter for worker processes: this one, or inside the Slicer application its PythonSlicer."""
    if Path(sys.executable or "").stem.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is None:
        raise ResourceError(
            "No Python interpreter was found beside the application.",
            "Start Slicer through its launcher.",
            code="resource.worker",
        )
    return found


class ProcessLink:
    """A worker in a child process.

    Args:
        python: its interpreter.
        handlers: the module whose ``HANDLERS`` it serves.
    """

    token = ""

    def __init__(self, python: str | None = None, handlers: str = "DeepSegLogic.worker.handlers"):
        self._python = python or default_python()
        self._handlers = handlers
        self.share = f"{shared.NAME}{secrets.token_hex(4)}"
        self.log: deque[str] = deque(maxlen=1000)
        self._process: subprocess.Popen | None = None
        self._logger = threading.Thread(target=self._drain, name="deepseg-log", daemon=True)

    def open(self, channel: Channel) -> None:
        python_path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")]))
        try:
            self._process = process = subprocess.Popen(
                [self._python, "-m", "DeepSegLogic.worker", self._handlers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # SAFEPATH: a torch.py in the current folder must not be what the worker imports
                env={**os.environ, "PYTHONPATH": python_path, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"},
                start_new_session=True,  # a process group to kill; and Ctrl+C is the client's
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise ResourceError(
                f"The Python interpreter {self._python} cannot be started ({error.strerror}).",
                "Set up DeepSeg's packages again.",
                code="resource.worker",
            ) from error
        self._logger.start()
        channel.connect(process.stdout, process.stdin)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            _kill_tree(self._process)

    def autopsy(self, started: bool) -> DeepSegError:
        assert self._process is not None
        try:
            exit_code = self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # it closed its pipes but stays
            exit_code = None
        _kill_tree(self._process)  # also what it may have started
        self._process.wait()
        self._logger.join(2.0)
        self._process.stderr.close()
        if exit_code is None:
            return ResourceError("The worker process hung up.", "Run again.", code="resource.worker")
        return why_it_died(exit_code, self.log[-1] if self.log else "", started)

    def _drain(self) -> None:
        assert self._process is not None
        while line := self._process.stderr.readline(4096):  # progress bars may never end a line
            self.log.append(line.decode(errors="replace").rstrip())


def _kill_tree(process: subprocess.Popen) -> None:
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):  # all gone; macOS says the latter of zombies
        os.killpg(process.pid, signal.SIGKILL)  # its own group, see start_new_session


class SocketLink:
    """A worker on the other end of a TCP connection, started with ``deepseg serve``."""

    share = ""

    def __init__(self, host: str, port: int, token: str):
        self._address = (host, port)
        self.token = token
        self.log: deque[str] = deque(maxlen=0)
        self._socket: socket.socket | None = None

    def open(self, channel: Channel) -> None:
        try:
            self._socket = connection = socket.create_connection(self._address, timeout=10)
        except OSError as error:
            raise ResourceError(
                f"The service at {self._address[0]}:{self._address[1]} cannot be reached ({error}).",
                "Start it with `deepseg serve`, and check host and port.",
                code="resource.service",
            ) from error
        connection.settimeout(None)
        channel.connect(connection.makefile("rb"), connection.makefile("wb"))

    def kill(self) -> None:
        if self._socket is not None:
            hang_up(self._socket)

    def autopsy(self, started: bool) -> DeepSegError:
        assert self._socket is not None
        self.kill()
        self._socket.close()
        return ResourceError(
            "The connection to the service was lost.",
            "See the service's own log, then run again.",
            code="resource.service",
        )


def hang_up(connection: socket.socket) -> None:
    """End a connection, also for a thread that waits for it."""
    with suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)
