"""What a cohort's driver and its workers tell each other, through files in the folder of results.

Workers of any engine see that folder, on whatever machine they run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..util.atomic_write import check_output_folder
from ..util.progress import Cancel, Progress
from ..util.staging import staging_folder
from .cases import Case

_LOOK_S, _TELL_S = 0.5, 1.0  # the folder may be on a slow share


@dataclass(frozen=True)
class Signals:
    """A folder for the signals of one run; it can be sent to workers."""

    folder: Path

    def stop(self) -> None:
        """Tell all workers to stop."""
        with suppress(OSError):
            (self.folder / "stop").touch()

    def stopped(self) -> Cancel:
        """Whether to stop, asked as often as one likes."""
        seen, looked = False, 0.0

        def look() -> bool:
            nonlocal seen, looked
            if not seen and time.monotonic() - looked > _LOOK_S:
                seen, looked = (self.folder / "stop").exists(), time.monotonic()
            return seen

        return look

    def is_the_first(self, digest: str) -> bool:
        """Whether a worker has the files of the model that the first worker had."""
        own = self.folder / f"model-{hashlib.sha256(digest.encode()).hexdigest()}"
        try:
            with suppress(FileExistsError):
                own.touch(exist_ok=False)
            return own == min(self.folder.glob("model-*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        except OSError:  # told where results are written
            return True

    @contextmanager
    def running(self, case: Case, number: int) -> Iterator[Progress]:
        """The progress of a case, for the driver; nothing is left of it after the ``with`` block."""
        path, told = self.folder / f"case-{number}", 0.0

        def progress(stage: str, fraction: float, message: str) -> None:
            nonlocal told
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                with suppress(OSError):
                    path.write_text(json.dumps([case.name, stage, fraction]), "utf-8")

        try:
            yield progress
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def told(self) -> list[tuple[str, str, float]]:
        """Name, stage and fraction of that stage of each case that runs at the moment."""
        found = []
        for path in sorted(self.folder.glob("case-*")):
            with suppress(OSError, ValueError, TypeError):
                name, stage, fraction = json.loads(path.read_text("utf-8"))
                found.append((str(name), str(stage), float(fraction)))
        return found


@contextmanager
def signals_in(output: Path) -> Iterator[Signals]:
    """Signals of a run whose results go to ``output``.

    Raises:
        OutputError: the folder cannot be written.
    """
    check_output_folder(output)
    with staging_folder(output) as own:
        yield Signals(own)
