"""Measures of each structure: volume, grey values, extent."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.label_grid import placed_on
from ..data.label_map import LabelMap, Structure
from ..data.types import Affine, FloatArray, LabelArray
from ..data.volume import Volume
from ..util.given import checks_arguments
from ..util.tables import read_table, write_table
from ..util.words import minus_text
from .field_of_view import bounded, cut_labels

_ML_DECIMALS, _HU_DECIMALS, _MM_DECIMALS = 3, 1, 2  # in measurements.csv
_BOX_ROUNDING_MM = 0.01


@dataclass(frozen=True)
class Measurement:
    """Of one structure. Lengths in mm, RAS; grey values in HU for CT; None where there is no voxel.

    Attributes:
        box_min, box_max: corners of the box, along the axes R, A, S, that holds all of its voxels whole.
        confidence: mean probability that the model gave it.
        boundary_margin: its margin over the next label at the border, see :class:`DeepSegLogic.segmentation.Result`.
        cut: whether the field of view or a region of interest cuts it, so that the volume is a lower bound.
    """

    name: str
    title: str
    voxels: int
    volume_ml: float
    mean_hu: float | None
    sd_hu: float | None
    box_min: tuple[float, float, float] | None
    box_max: tuple[float, float, float] | None
    confidence: float | None = None
    boundary_margin: float | None = None
    cut: bool = False

    @property
    def volume_text(self) -> str:
        """The volume in ml for a table: ``"261.0"``, or ``"≥ 261.0"`` where it is a lower bound."""
        return volume_text(self.volume_ml, self.cut)

    def as_json(self) -> dict[str, Any]:
        """The measurement as plain JSON values."""
        return asdict(self)


@checks_arguments
def measure(
    label_map: LabelMap,
    volume: Volume | None,
    confidence: dict[str, float] | None = None,
    boundary_margin: dict[str, float] | None = None,
    cut: Collection[str] = (),
) -> list[Measurement]:
    """Measure every structure of a label map in the volume that it was made from.

    Args:
        volume: None if it is not at hand: no grey values, and padding around a field of view is not seen.
        confidence, boundary_margin, cut: as in :class:`~DeepSegLogic.segmentation.Result`. Structures that the field of
            view cuts are found.

    Raises:
        InputError: the label map does not have the voxels of the volume.

    Example:
        >>> from DeepSegLogic import measure, read_label_map, read_volume
        >>> lung = measure(read_label_map("organs.seg.nrrd"), read_volume("ct.nrrd"))[5]
        >>> lung.name, round(lung.volume_ml), round(lung.mean_hu)
        ('left_lung', 1880, -835)
    """
    if volume is None:
        blank = Volume(np.broadcast_to(np.int16(0), label_map.shape_kji), label_map.ijk_to_ras)
        rows = measure(label_map, blank, confidence, boundary_margin, cut)
        return [replace(row, mean_hu=None, sd_hu=None) for row in rows]
    label_map = placed_on(volume, label_map, 1e-2)
    if label_map.layers:
        rows = [row for layer in label_map.layers for row in measure(layer, volume, confidence, boundary_margin, cut)]
        by_name = {row.name: row for row in rows}
        return [by_name.get(s.name) or _empty(s) for s in label_map.structures]
    sums, ended = _Sums(label_map, volume), cut_labels(label_map, volume)
    return [
        replace(
            sums.of(s),
            confidence=(confidence or {}).get(s.name),
            boundary_margin=(boundary_margin or {}).get(s.name),
            cut=s.value in ended or s.name in cut,
        )
        for s in label_map.structures
    ]


def same_voxels(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements are of the same voxels, as far as they tell: by their number and their box."""

    def box(row: Measurement) -> list[float]:
        return [*(row.box_min or ()), *(row.box_max or ())]

    same = len(box(one)) == len(box(other)) and np.allclose(box(one), box(other), rtol=0, atol=_BOX_ROUNDING_MM)
    return one.voxels == other.voxels and bool(same)


def confidence_note(confidence: float | None, boundary_margin: float | None) -> str:
    """What a structure's confidence says, for a tooltip; empty where nothing is known of its border."""
    if confidence is None or boundary_margin is None:
        return ""
    return (
        f"Confidence {confidence:.2f}. At its border the model prefers it by {boundary_margin:.2f} "
        "(0: undecided, 1: certain)."
    )


def volume_text(ml: float, cut: bool) -> str:
    """A volume for a table, see :attr:`Measurement.volume_text`."""
    return bounded(f"{round(ml, _ML_DECIMALS):.1f}", cut)  # rounded as in the file first: one number everywhere


def hu_text(hu: float | None) -> str:
    """A mean in HU for a table, rounded as in the file first, likewise: ``"−836"``; empty for none."""
    return "" if hu is None or not math.isfinite(hu) else minus_text(round(round(hu, _HU_DECIMALS)))


def write_measurements(rows: list[Measurement], path: Path) -> None:
    """Write measurements as CSV: one row per structure, numbers with a point; ``cut`` says "yes" or nothing."""
    write_table(path, *measurement_table(rows))


def measurement_table(rows: list[Measurement]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table that :func:`write_measurements` writes."""
    header = ["structure", "name", "volume_ml", "voxels", "mean_hu", "sd_hu"]
    header += [f"{end}_{axis}_mm" for end in ("min", "max") for axis in ("R", "A", "S")]
    return [*header, "confidence", "boundary_margin", "cut"], [*map(_cells, rows)]


def read_measurements(path: Path) -> list[Measurement]:
    """Read what :func:`write_measurements` wrote, rounded as it is there; tables of earlier versions lack columns.

    Raises:
        OSError, ValueError, LookupError: the file is missing or damaged.
    """
    header, cells = read_table(path)
    return [_row(dict(zip(header, row, strict=True))) for row in cells]


def _row(cells: dict[str, str]) -> Measurement:
    def number(column: str) -> float | None:
        return float(cells[column]) if cells.get(column) else None

    def corner(end: str) -> tuple[float, float, float] | None:
        r, a, s = (number(f"{end}_{axis}_mm") for axis in ("R", "A", "S"))
        return None if r is None or a is None or s is None else (r, a, s)

    return Measurement(
        cells["name"],
        cells["structure"],
        int(cells["voxels"]),
        float(cells["volume_ml"]),
        number("mean_hu"),
        number("sd_hu"),
        corner("min"),
        corner("max"),
        number("confidence"),
        number("boundary_margin"),
        cells.get("cut") == "yes",
    )


def _cells(row: Measurement) -> list[object]:
    box = [*(row.box_min or ("",) * 3), *(row.box_max or ("",) * 3)]
    numbers: list[object] = [round(row.volume_ml, _ML_DECIMALS), row.voxels]
    numbers += [_short(row.mean_hu, _HU_DECIMALS), _short(row.sd_hu, _HU_DECIMALS)]
    belief = [_short(row.confidence, 4), _short(row.boundary_margin, 4)]
    return [row.title, row.name, *numbers, *(_short(b, _MM_DECIMALS) for b in box), *belief, "yes" if row.cut else ""]


class _Sums:
    """Sums of every label, from one pass over the slices of a label map and its volume."""

    def __init__(self, label_map: LabelMap, volume: Volume):
        self._voxel_ml = label_map.voxel_ml
        values = [s.value for s in label_map.structures]
        self._size = 1 + max([*values, int(label_map.array.max(initial=0))])
        self._count = np.zeros(self._size, np.int64)
        self._mean, self._squares = np.zeros((2, self._size))  # squares: of the differences from the mean
        self._low, self._high = np.full((3, self._size), np.inf), np.full((3, self._size), -np.inf)
        for k, (labels, values) in enumerate(zip(label_map.array, volume.array, strict=True)):
            flat = labels.ravel()
            at = np.flatnonzero(flat)
            if len(at):
                found = flat[at]
                self._add_values(found, values.ravel()[at].astype(np.float64))
                self._add_places(k, flat, at, found, labels.shape[1], label_map.ijk_to_ras)
        half = np.abs(label_map.ijk_to_ras[:3, :3]).sum(1)[:, None] / 2
        self._low -= half
        self._high += half

    def _add_values(self, labels: LabelArray, values: FloatArray) -> None:
        """Mean and variance joined in pairs (Chan, Golub and LeVeque, 1979), which loses no digits."""
        count = np.bincount(labels, minlength=self._size)
        mean = np.bincount(labels, values, self._size) / np.maximum(count, 1)
        squares = np.bincount(labels, (values - mean[labels]) ** 2, self._size)
        both = np.maximum(self._count + count, 1)
        step = mean - self._mean
        self._squares += squares + step**2 * (self._count * count / both)
        self._mean += step * (count / both)
        self._count += count

    def _add_places(
        self, k: int, flat: LabelArray, at: npt.NDArray[np.intp], labels: LabelArray, columns: int, ijk_to_ras: Affine
    ) -> None:
        """RAS extremes, also on an oblique grid: those of the ends of all rows of voxels with one label."""
        i = at % columns
        ends = (
            (i == 0)
            | (i == columns - 1)
            | (flat[at - 1] != labels)
            | (flat[np.minimum(at + 1, len(flat) - 1)] != labels)
        )
        i, j, labels = i[ends], at[ends] // columns, labels[ends]
        for axis, (low, high) in enumerate(zip(self._low, self._high, strict=True)):
            x, y, z, origin = ijk_to_ras[axis]
            place = x * i + y * j + (z * k + origin)
            np.minimum.at(low, labels, place)
            np.maximum.at(high, labels, place)

    def of(self, structure: Structure) -> Measurement:
        """The measurement of one structure."""
        value = structure.value
        count = int(self._count[value])
        if not count:
            return _empty(structure)
        return Measurement(
            structure.name,
            structure.title,
            count,
            count * self._voxel_ml,
            float(self._mean[value]),
            float(np.sqrt(self._squares[value] / count)),
            position(self._low[:, value]),
            position(self._high[:, value]),
        )


def _empty(structure: Structure) -> Measurement:
    return Measurement(structure.name, structure.title, 0, 0.0, None, None, None, None)


def position(point: FloatArray) -> tuple[float, float, float]:
    """A point (3,) as plain numbers."""
    x, y, z = point.tolist()
    return x, y, z


def _short(value: float | str | None, digits: int) -> float | str:
    """A rounded number for the table; an empty cell for none."""
    return round(value, digits) if isinstance(value, int | float) else ""
