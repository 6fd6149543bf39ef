"""What commands say while they run: bars for people, one JSON event per line for programs."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON event per line.")]


_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ending_like_ctrl_c():
    """While it lasts, a program that is told to end (by a scheduler, a closed terminal) cleans up as after Ctrl-C.

    After it, the program is about to end, and is not disturbed: some, like ``timeout``, tell it twice.
    """
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:  # else ignored, as by nohup
            signal.signal(number, signal.default_int_handler)
    yield
    for number in (signal.SIGINT, *_ENDINGS):
        signal.signal(number, signal.SIG_IGN)


def somebody_there() -> bool:
    """Whether a person at a terminal can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


class Console:
    """Where a command reports to.

    Args:
        quiet: say nothing but errors.
        as_json: print events for programs on the standard output.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False):
        self.quiet, self.as_json = quiet, as_json
        self._bars, self._tasks = None, {}
        self._interrupted = False

    @contextmanager
    def working(self):
        """While it lasts, progress is shown and the first Ctrl-C (or what ends like it) asks the work to stop."""
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
        """A :data:`~DeepSegLogic.progress.Progress`."""
        if self.as_json:
            self.event("progress", stage=stage, fraction=round(fraction, 4), message=message)
        elif self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=1.0, message="")
            self._bars.update(self._tasks[stage], completed=fraction, message=message)

    def cancelled(self) -> bool:
        """A :data:`~DeepSegLogic.progress.Cancel`."""
        return self._interrupted

    def warning(self, sentence: str) -> None:
        """Something the user should know; also on a quiet console, on the error output."""
        if self.as_json:
            self.event("warning", message=sentence)
        else:
            print(f"Warning: {sentence}", file=sys.stderr)

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet and not self.as_json:
            print(text)

    def show(self, renderable) -> None:
        """A table or other rich object for people."""
        if not self.quiet and not self.as_json:
            from rich.console import Console as Rich

            Rich(highlight=False).print(renderable)

    def event(self, name: str, **facts) -> None:
        """One event for programs."""
        if self.as_json:
            print(json.dumps({"event": name, **facts}, ensure_ascii=False), flush=True)

    def _listen(self) -> list[int]:
        """The signals that were listened to before as to Ctrl-C; those that are ignored stay so."""

        def interrupt(number, _):
            if self._interrupted and number == signal.SIGINT:  # a person asks again: do not wait for the work to look
                raise KeyboardInterrupt
            self._interrupted = True

        found = [n for n in (signal.SIGINT, *_ENDINGS) if signal.getsignal(n) is signal.default_int_handler]
        try:
            for number in found:
                signal.signal(number, interrupt)
        except ValueError:  # not the main thread, as in some test runners
            return []
        return found

    def _start_bars(self) -> None:
        from rich.console import Console as Rich
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=Rich(stderr=True),
        )
        self._bars.start()


def print_error(as_json: bool, code: str, message: str, remedy: str, exit_code: int) -> int:
    """Tell an error; returns the exit code."""
    if as_json:
        Console(as_json=True).event("error", code=code, message=message, remedy=remedy, exit_code=exit_code)
    print(f"Error: {message} {remedy}".strip() if code != "cancelled" else message, file=sys.stderr)
    return exit_code
