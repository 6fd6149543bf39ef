"""The course of a training: ``training.csv``, one row per step, and ``curves.png``; for TensorBoard if installed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.types import FloatArray
from ..util.atomic_write import atomic_path

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = ("step", "seconds", "rate", "loss", "dice")
_SIZE, _MARGIN = (900, 480), (70, 30, 70, 50)  # pixels; left, top, right, bottom
_LOSS, _DICE, _INK = (200, 70, 40), (40, 90, 190), (60, 60, 60)


class Log:
    """``training.csv`` of a folder, and the same for TensorBoard in ``tensorboard`` if that is installed.

    Rows after the step of the checkpoint that is continued are dropped.
    """

    def __init__(self, folder: Path, step: int):
        self._path = folder / "training.csv"
        self.rows = [row for row in _rows(self._path) if int(row[0]) <= step]
        with atomic_path(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *self.rows])
        self._file = self._path.open("a", 1, newline="", encoding="utf-8")  # each row at once
        self._board = _board(folder, step)

    def add(self, step: int, seconds: float, rate: float, loss: float) -> None:
        """Add a step."""
        self.rows.append([str(step), f"{seconds:.1f}", f"{rate:.3g}", f"{loss:.6f}", ""])
        csv.writer(self._file).writerow(self.rows[-1])
        if self._board is not None:
            self._board.add_scalar("loss", loss, step)
            self._board.add_scalar("learning rate", rate, step)

    def validated(self, dice: float) -> None:
        """Add a Dice to the last step, as a row of its own; nothing before the first one."""
        if not self.rows:  # only the checkpoint of an earlier run is there
            return
        self.rows.append([*self.rows[-1][:4], f"{dice:.4f}"])
        csv.writer(self._file).writerow(self.rows[-1])
        if self._board is not None:
            self._board.add_scalar("Dice", dice, int(self.rows[-1][0]))
            self._board.flush()

    def recent_loss(self) -> float:
        """The mean loss of the last 50 steps; NaN before the first one."""
        losses = [float(row[3]) for row in self.rows[-50:]]
        return float(np.mean(losses)) if losses else float("nan")

    def draw(self) -> None:
        """Draw the curves."""
        if self.rows:
            draw(self.rows, self._path.with_name("curves.png"))

    def close(self) -> None:
        """Draw the curves, and close the file."""
        self.draw()
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoLog(Log):
    """The log of a process that writes no files."""

    def __init__(self) -> None:
        self.rows = []

    def add(self, step: int, seconds: float, rate: float, loss: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _board(folder: Path, step: int) -> SummaryWriter | None:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def draw(rows: Sequence[Sequence[str]], path: Path) -> None:
    """Draw loss (left axis) and Dice on held-out patches (right axis) over steps, as a PNG."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = _MARGIN
    width, height = _SIZE[0] - left - right, _SIZE[1] - top - bottom
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    losses, dice = _finite(rows, 3), _finite([row for row in rows if row[4]], 4)
    last = max(float(rows[-1][0]), 1.0)
    losses = _smooth(losses)
    low, high = (float(losses[:, 1].min()), float(losses[:, 1].max())) if len(losses) else (0.0, 1.0)
    high = max(high, low + 1e-6)

    def place(step: float, share: float) -> tuple[float, float]:
        return left + width * step / last, top + height * (1 - share)

    for part in range(5):
        y = top + height * part / 4
        pen.line((left, y, left + width, y), fill=(225, 225, 225))
        pen.text((8, y - 6), f"{high - (high - low) * part / 4:.3f}", fill=_LOSS)
        pen.text((left + width + 10, y - 6), f"{1 - part / 4:.2f}", fill=_DICE)
        pen.text((left + width * part / 4 - 10, top + height + 10), f"{last * part / 4:.0f}", fill=_INK)
    pen.text((8, 8), "loss", fill=_LOSS)
    pen.text((left + width + 10, 8), "Dice", fill=_DICE)
    pen.text((left + width / 2, _SIZE[1] - 18), "step", fill=_INK)
    if len(losses) > 1:
        pen.line([place(s, (v - low) / (high - low)) for s, v in losses], fill=_LOSS, width=2)
    if len(dice) > 1:
        pen.line([place(s, v) for s, v in dice], fill=_DICE, width=2)
    for step, value in dice:
        x, y = place(step, value)
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_DICE)
    with atomic_path(path) as temporary:
        image.save(temporary)


def _finite(rows: Sequence[Sequence[str]], column: int) -> FloatArray:
    """(n, 2) step and value, without NaN."""
    points = np.array([[float(row[0]), float(row[column])] for row in rows]).reshape(-1, 2)
    kept: FloatArray = points[np.isfinite(points).all(1)]
    return kept


def _smooth(points: FloatArray, most: int = 400) -> FloatArray:
    """At most so many points, each the mean of its neighbours."""
    if len(points) <= most:
        return points
    parts = np.array_split(points, most)
    means: FloatArray = np.array([part.mean(0) for part in parts])
    return means


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdecimal()]
