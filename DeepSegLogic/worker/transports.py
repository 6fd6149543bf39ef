"""Connections to a worker: a child process."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections import deque
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Protocol

from ..util.errors import DeepSegError, ResourceError
from ..util.openmp import openmp_settings
from . import process_tree
from . import shared_memory as shared
from .channel import Channel
from .error_mapping import why_it_died

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class Link(Protocol):
    """The connection to one worker, from its start to its end.

    Attributes:
        share: for :func:`~DeepSegLogic.worker.handshake.greet_worker`.
        log: the last lines that the worker's libraries wrote.
    """

    share: str
    log: deque[str]

    def open(self, channel: Channel) -> None:
        """Start or reach the worker and connect ``channel`` to it."""

    def kill(self) -> None:
        """End the worker at once, with everything that it started. Any thread may call this, at any time."""

    def why_it_ended(self, started: bool) -> DeepSegError:
        """After the worker closed the connection: wait for its end, clean up, and say why it ended."""


def default_python() -> str:
    """The interpreter for worker processes: this one, or inside the Slicer application its PythonSlicer."""
    if Path(sys.executable or "").stem.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is None:
        raise ResourceError(
            "No Python interpreter was found for worker processes.",
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

    def __init__(self, python: str | None = None, handlers: str = "DeepSegLogic.worker.handlers") -> None:
        self._python = python or default_python()
        self._handlers = handlers
        self.share = f"{shared.NAME}{secrets.token_hex(4)}"
        self.log: deque[str] = deque(maxlen=1000)
        self._process: subprocess.Popen[bytes] | None = None
        self._logger = threading.Thread(target=self._drain, name="deepseg-log", daemon=True)

    def open(self, channel: Channel) -> None:
        shared.sweep()
        python_path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")]))
        try:
            self._process = process = subprocess.Popen(
                [self._python, "-m", "DeepSegLogic.worker", self._handlers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # SAFEPATH: the worker must not import a torch.py from the current folder
                env={
                    **os.environ,
                    **openmp_settings(),
                    "PYTHONPATH": python_path,
                    "PYTHONSAFEPATH": "1",
                    "PYTHONUTF8": "1",
                },
                start_new_session=True,  # a process group to kill; Ctrl+C goes to the client only
                creationflags=process_tree.NO_WINDOW,
            )
        except OSError as error:
            raise ResourceError(
                f"The Python interpreter {self._python} cannot be started ({error.strerror}).",
                "Set up DeepSeg's packages again.",
                code="resource.worker",
            ) from error
        self._logger.start()
        assert isinstance(process.stdout, BufferedReader) and isinstance(process.stdin, BufferedWriter)
        channel.connect(process.stdout, process.stdin)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            process_tree.kill(self._process)

    def why_it_ended(self, started: bool) -> DeepSegError:
        assert self._process is not None
        try:
            exit_code = self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # it closed its pipes but runs on
            exit_code = None
        process_tree.kill(self._process)  # also what it may have started
        self._process.wait()
        self._logger.join(2.0)
        if self._process.stderr is not None:
            self._process.stderr.close()
        if exit_code is None:
            return ResourceError("The worker process closed the connection.", "Run again.", code="resource.worker")
        return why_it_died(exit_code, self.log[-1] if self.log else "", started)

    def _drain(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while line := self._process.stderr.readline(4096):  # progress bars may never end a line
            self.log.append(line.decode(errors="replace").rstrip())
