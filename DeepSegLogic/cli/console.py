"""Output of commands: progress bars for people, or one JSON event per line for programs."""

from __future__ import annotations

import codecs
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

_WIDEST = 1000  # letters of a line of a table in a file or pipe

_IN_ASCII = {"≥": ">=", "≤": "<=", "−": "-", "→": "->"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """A handler of :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("deepseg-ascii", _in_ascii)


def print_in_any_encoding() -> None:
    """Replace what the encoding of standard output lacks, as that of pipes on Windows, instead of an error: ≥ by >=."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None if it was closed, as by `>&-`
            stream.reconfigure(errors="deepseg-ascii")


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """In the ``with`` block, other requests to end (of a scheduler, a closed terminal) count as Ctrl-C.

    After it, they are ignored while the program ends: some senders, like ``timeout``, repeat them.
    """
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:  # else it is ignored, as by nohup
            signal.signal(number, signal.default_int_handler)
    yield
    for number in (signal.SIGINT, *_ENDINGS):
        signal.signal(number, signal.SIG_IGN)


def as_typed(path: Path) -> str:
    """A path as it is typed in a command: quoted if it has spaces or the like."""
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))


def somebody_there() -> bool:
    """Whether there is a terminal with a user to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


class Console:
    """The output of a command.

    Args:
        quiet: print only warnings and errors.
        as_json: print JSON events for programs on standard output.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._interrupted = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """In the ``with`` block, progress is shown, and the first Ctrl-C (or the like) sets :meth:`cancelled`."""
        before = self._listen()
        try:
            if not self.quiet and not self.as_json:
                self._start_bars()
            yield
        finally:
            if self._bars is not None:
                self._bars.stop()
            self._bars, self._tasks = None, {}
            for number in before:
                signal.signal(number, signal.default_int_handler)

    def progress(self, stage: str, fraction: float, message: str) -> None:
        """A :data:`~DeepSegLogic.util.progress.Progress`."""
        if self.as_json:
            self.event("progress", stage=stage, fraction=round(fraction, 4), message=message)
        elif self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=1.0, message="")
            self._bars.update(self._tasks[stage], completed=fraction, message=message)

    def cancelled(self) -> bool:
        """A :data:`~DeepSegLogic.util.progress.Cancel`."""
        return self._interrupted

    def warning(self, sentence: str) -> None:
        """Print a warning to standard error, also on a quiet console."""
        if self.as_json:
            self.event("warning", message=sentence)
        else:
            print(f"Warning: {sentence}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.quiet and not self.as_json:
            print(text)

    def show(self, renderable: RenderableType) -> None:
        """Print a table or another Rich object for people; in a file or pipe as wide as it is."""
        if not self.quiet and not self.as_json:
            from rich.console import Console as Rich
            from rich.measure import Measurement

            rich = Rich(highlight=False)
            if not rich.is_terminal:
                anything = rich.options.update_width(_WIDEST)
                rich.width = max(rich.width, Measurement.get(rich, anything, renderable).maximum)
            rich.print(renderable)

    def event(self, name: str, **facts: object) -> None:
        """Print an event for programs."""
        if self.as_json:
            print(json.dumps({"event": name, **facts}), flush=True)  # ASCII: pipes of Windows are not UTF-8

    def _listen(self) -> list[int]:
        """Handle all signals that so far raised KeyboardInterrupt; returns them. Ignored ones stay ignored."""

        def interrupt(number: int, _: object) -> None:
            if self._interrupted and number == signal.SIGINT:  # the second Ctrl-C: do not wait for the work
                raise KeyboardInterrupt
            self._interrupted = True

        found = [n for n in (signal.SIGINT, *_ENDINGS) if signal.getsignal(n) is signal.default_int_handler]
        try:
            for number in found:
                signal.signal(number, interrupt)
        except ValueError:  # not in the main thread, as in some test runners
            return []
        return found

    def _start_bars(self) -> None:
        from rich.console import Console as Rich
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        console, rest = Rich(stderr=True), Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(min(40, console.width // 4)),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False, table_column=rest),  # cut, so that the bar is not
            console=console,
            expand=True,
        )
        self._bars.start()


def print_error(as_json: bool, code: str, message: str, remedy: str, exit_code: int) -> int:
    """Print an error; returns the exit code."""
    if as_json:
        Console(as_json=True).event("error", code=code, message=message, remedy=remedy, exit_code=exit_code)
    print(f"Error: {message} {remedy}".strip() if code != "cancelled" else message, file=sys.stderr)
    return exit_code
