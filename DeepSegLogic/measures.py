"""Measures of each structure: volume, grey values, extent."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .geometry import ijk_to_ras_points
from .labels import LabelMap
from .volume import Volume


@dataclass(frozen=True)
class Measurement:
    """Of one structure. Lengths in mm, RAS; grey values in HU for CT; None where there is no voxel.

    Attributes:
        box_min, box_max: corners of the box, along the axes R, A, S, that holds all of its voxels whole.
        confidence: mean probability that the model gave it.
        boundary_margin: by how much that led the next label's at its border, see :class:`DeepSegLogic.pipeline.Result`.
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

    def as_json(self) -> dict:
        """The measurement as plain JSON values."""
        return asdict(self)


def measure(
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float] | None = None,
    boundary_margin: dict[str, float] | None = None,
) -> list[Measurement]:
    """Measure every structure of a label map in the volume that it was made from; the rest is as a run gives it."""
    from scipy.ndimage import find_objects

    boxes = find_objects(label_map.array)
    return [
        replace(
            _one(label_map, volume, s, boxes[s.value - 1] if s.value <= len(boxes) else None),
            confidence=(confidence or {}).get(s.name),
            boundary_margin=(boundary_margin or {}).get(s.name),
        )
        for s in label_map.structures
    ]


def confidence_note(confidence: float | None, boundary_margin: float | None) -> str:
    """What a structure's confidence says, for a tooltip; empty where nothing is known of its border."""
    if confidence is None or boundary_margin is None:
        return ""
    return (
        f"Confidence {confidence:.2f}. At its border the model prefers it by {boundary_margin:.2f} "
        "(0: undecided, 1: certain)."
    )


def write_measurements(rows: list[Measurement], path: Path) -> None:
    """Write measurements as CSV: one row per structure, numbers with a point."""
    header = ["structure", "name", "volume_ml", "voxels", "mean_hu", "sd_hu"]
    header += [f"{end}_{axis}_mm" for end in ("min", "max") for axis in ("R", "A", "S")]
    header += ["confidence", "boundary_margin"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            box = [*(row.box_min or ("",) * 3), *(row.box_max or ("",) * 3)]
            numbers = [round(row.volume_ml, 3), row.voxels, _short(row.mean_hu, 1), _short(row.sd_hu, 1)]
            belief = [_short(row.confidence, 4), _short(row.boundary_margin, 4)]
            writer.writerow([row.title, row.name, *numbers, *(_short(b, 2) for b in box), *belief])


def _one(label_map: LabelMap, volume: Volume, structure, box) -> Measurement:
    if box is None:
        return Measurement(structure.name, structure.title, 0, 0.0, None, None, None, None)
    mask = label_map.array[box] == structure.value
    values = volume.array[box][mask].astype(np.float64)
    corners = _corners(mask, box, label_map.ijk_to_ras)
    return Measurement(
        structure.name,
        structure.title,
        len(values),
        len(values) * label_map.voxel_ml,
        float(values.mean()),
        float(values.std()),
        tuple(corners.min(0).tolist()),
        tuple(corners.max(0).tolist()),
    )


def _corners(mask: np.ndarray, box, ijk_to_ras: np.ndarray) -> np.ndarray:
    """RAS extremes of the voxels of a mask, edges included, also on an oblique grid."""
    kji = np.argwhere(mask) + [s.start for s in box]
    centres = ijk_to_ras_points(kji[:, ::-1], ijk_to_ras)
    half = np.abs(ijk_to_ras[:3, :3]).sum(1) / 2
    return np.stack([centres.min(0) - half, centres.max(0) + half])


def _short(value, digits: int):
    return "" if value in (None, "") else round(value, digits)
