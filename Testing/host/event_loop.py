"""What the event loop is made to wait for, and what goes wrong in it."""

import time
import traceback
from contextlib import contextmanager
from pathlib import Path


class Loop:
    """Times how long the GUI thread stays away from its event loop.

    Attributes:
        longest: seconds of the longest stay.
        culprit: name of the slot that was the last to run in it.
        errors: exceptions that left a slot or an observer. As in Slicer they are printed and go no further.
    """

    def __init__(self):
        self.errors: list[Exception] = []
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        self.longest, self.culprit = 0.0, ""
        self.errors.clear()
        self._depth, self._last_slot, self._since = 0, "", 0.0

    @contextmanager
    def away(self, slot: str = ""):
        """Around code that keeps the event loop waiting: a slot, or one pass of the loop itself."""
        if not self._depth:
            self._since, self._last_slot = own_time(), slot
        self._last_slot = slot or self._last_slot
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._note()

    @contextmanager
    def back(self):
        """Around a pass of the event loop inside a slot (``slicer.app.processEvents()``): the wait begins anew."""
        depth, self._depth = self._depth, 0
        if depth:
            self._note()
        try:
            yield
        finally:
            self._depth, self._since = depth, own_time()

    def run_slot(self, function, args):
        """Call a slot as PythonQt does: an exception is printed and ends there."""
        with self.away(getattr(function, "__qualname__", repr(function))):
            try:
                return function(*args)
            except Exception as error:
                self.keep(type(error), error, error.__traceback__)

    def keep(self, kind, error, trace) -> None:
        """Print an exception and keep it; also ``sys.excepthook``, where VTK's observers end."""
        self.errors.append(error)
        traceback.print_exception(kind, error, trace)

    def _note(self) -> None:
        seconds = own_time() - self._since
        if seconds > self.longest:
            self.longest, self.culprit = seconds, self._last_slot


def own_time() -> float:
    """Seconds of wall clock, on Linux without those in which other programs had the processor."""
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        waited = 0.0
    return time.perf_counter() - waited


LOOP = Loop()
