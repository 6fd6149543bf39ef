"""Body composition: fat, muscle and bone from HU windows inside regions, in total and per vertebral level.

The windows are those of M. Mourtzakis et al., Appl. Physiol. Nutr. Metab. 33 (2008) 997: muscle −29 to 150 HU,
subcutaneous and intermuscular fat −190 to −30 HU, visceral fat −150 to −50 HU. They hold for adults at 120 kV without
much noise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ..data.affine import ijk_to_ras_points
from ..data.boxes import boxes_by_label
from ..data.label_map import LabelMap, Structure, structure_named
from ..data.records import on_same_grid
from ..data.types import FloatArray, MaskArray
from ..data.volume import Volume
from ..util.errors import InputError
from ..util.given import checks_arguments
from ..util.tables import write_table
from ..util.words import minus_text
from .field_of_view import bounded, cut_labels
from .measurements import volume_text

WHOLE = "whole scan"
"""The level of the row with the totals."""
_FAT_HU, _VISCERAL_HU, _MUSCLE_HU = (-190, -30), (-150, -50), (-29, 150)
_TISSUES: dict[str, tuple[tuple[str, ...], tuple[float, float] | None]] = {
    "subcutaneous fat": (("subcutaneous_tissue", "subcutaneous_fat"), _FAT_HU),
    "visceral fat": (("abdominal_cavity",), _VISCERAL_HU),
    "intermuscular fat": (("muscle", "muscles", "skeletal_muscle"), _FAT_HU),
    "muscle": (("muscle", "muscles", "skeletal_muscle"), _MUSCLE_HU),
    "bone": (("bones", "bone"), None),
}
"""Tissue → the names of its region, of which the first that is there is taken, and its window; None for all of it."""
_VERTEBRA = re.compile(r"vertebrae_([CTLS]\d+)")


@dataclass(frozen=True)
class Tissue:
    """A tissue at one level.

    Attributes:
        tissue: ``"muscle"``, ``"visceral fat"``, ….
        level: a vertebra such as ``"L3"``, or :data:`WHOLE`.
        volume_ml, mean_hu: of the voxels in the window; no HU without voxels.
        area_cm2: mean cross-section of the level; None for the whole scan.
        cut: whether the field of view cuts its region, of a level at its sides, so that the volume is a lower bound.
    """

    tissue: str
    level: str
    volume_ml: float
    area_cm2: float | None
    mean_hu: float | None
    cut: bool

    @property
    def sentence(self) -> str:
        """Such as ``"muscle, L3: 148.2 cm², 41 HU"``."""
        size = volume_text(self.volume_ml, self.cut) + " ml"
        if self.area_cm2 is not None:
            size = bounded(f"{self.area_cm2:.1f} cm²", self.cut)
        return f"{self.tissue}, {self.level}: {size}" + (
            f", {minus_text(self.mean_hu, '.0f')} HU" if self.mean_hu is not None else ""
        )


@checks_arguments
def body_composition(regions: LabelMap, volume: Volume, vertebrae: LabelMap | None = None) -> list[Tissue]:
    """Measure the tissues whose regions a label map has.

    A vertebral level reaches half-way to the centres of the neighbouring vertebrae, along S. The first and the last one
    reach as far to their outer side; where that leaves the scan, or for a single vertebra, there is no such level.

    Args:
        regions: with ``subcutaneous_tissue``, ``muscle``, ``abdominal_cavity`` or ``bones``, as the model
            ``cads_body_regions`` gives them; on the grid of the volume.
        vertebrae: with ``vertebrae_L3`` and the like, on the same grid; None to look for them in ``regions``.

    Raises:
        InputError: no region is there, or a grid differs.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, Volume
        >>> from DeepSegLogic.review.body_composition import body_composition
        >>> array = np.zeros((9, 9, 9), np.uint8)
        >>> array[2:7, 2:7, 2:7] = 1
        >>> muscle = LabelMap(array, np.diag([2.0, 2.0, 2.0, 1.0]), [Structure(1, "muscle", "Muscle")])
        >>> rows = body_composition(muscle, Volume(np.full((9, 9, 9), 55, np.int16), muscle.ijk_to_ras))
        >>> [(row.tissue, row.level, row.volume_ml) for row in rows]
        [('intermuscular fat', 'whole scan', 0.0), ('muscle', 'whole scan', 1.0)]
    """
    spine = vertebrae if vertebrae is not None else regions
    for label_map in (regions, spine):
        if not on_same_grid(label_map, volume, 1e-2):
            raise InputError(
                "The label maps do not have the grid of the volume.",
                "Choose the volume that was segmented.",
                code="input.grid",
            )
    found = {tissue: _region(regions, names) for tissue, (names, _) in _TISSUES.items()}
    if not any(found.values()):
        raise InputError(
            "The label map has no region for body composition: no subcutaneous tissue, muscle, abdominal cavity or "
            "bones.",
            "Segment the scan with a model that has them, such as cads_body_regions.",
            code="input.structures",
        )
    levels = _levels(spine, volume)
    cut = {value for layer in regions.layers or [regions] for value in cut_labels(layer, volume)}
    rows = []
    for tissue, structure in found.items():
        if structure is not None:
            sums = _sums(regions.mask(structure.name), volume, _TISSUES[tissue][1], levels)
            rows += _rows(tissue, sums, levels, structure.value in cut, volume.voxel_ml)
    return rows


def write_body_composition(rows: Iterable[Tissue], path: Path) -> None:
    """Write body composition as CSV.

    Raises:
        OSError: the file cannot be written.
    """
    digits = {"volume_ml": 3, "area_cm2": 2, "mean_hu": 1}

    def cell(name: str, value: object) -> object:
        if isinstance(value, bool):
            return "yes" if value else ""
        return round(value, digits[name]) if isinstance(value, float) else "" if value is None else value

    cells = ([cell(name, value) for name, value in asdict(row).items()] for row in rows)
    write_table(path, [field.name for field in fields(Tissue)], cells)


def _region(regions: LabelMap, names: Iterable[str]) -> Structure | None:
    known = (structure_named(name, regions.structures) for name in names)
    return next((s for s in known if s is not None), None)


def _levels(spine: LabelMap, volume: Volume) -> dict[str, tuple[float, float]]:
    """Vertebra → from where to where its level reaches along S, mm; from the highest down."""
    centres = {}
    for layer in spine.layers or [spine]:
        boxes = boxes_by_label(layer.array)
        for structure in layer.structures:
            named, box = _VERTEBRA.fullmatch(structure.name), boxes.get(structure.value)
            if named and box:
                ijk = np.argwhere(layer.array[box] == structure.value)[:, ::-1] + [s.start for s in box[::-1]]
                centres[named[1]] = float(ijk_to_ras_points(ijk.mean(0)[None], layer.ijk_to_ras)[0, 2])
    names = sorted(centres, key=lambda name: -centres[name])
    s = np.array([centres[name] for name in names])
    if len(s) < 2:
        return {}
    middle = (s[1:] + s[:-1]) / 2
    upper, lower = np.r_[2 * s[0] - middle[0], middle], np.r_[middle, 2 * s[-1] - middle[-1]]
    low, high = _reach(volume)
    levels = {name: (float(b), float(a)) for name, a, b in zip(names, upper, lower, strict=True)}
    return {name: (b, a) for name, (b, a) in levels.items() if b >= low and a <= high}


def _reach(volume: Volume) -> tuple[float, float]:
    """From where to where the scan reaches along S, mm, on its axis."""
    k = volume.shape_kji[0] - 1
    middle = [(n - 1) / 2 for n in volume.shape_ijk[:2]]
    ends = ijk_to_ras_points([[*middle, -0.5], [*middle, k + 0.5]], volume.ijk_to_ras)[:, 2]
    return float(ends.min()), float(ends.max())


def _sums(
    region: MaskArray, volume: Volume, window: tuple[float, float] | None, levels: dict[str, tuple[float, float]]
) -> FloatArray:
    """By level, (1 + levels, 3), first of the whole scan: voxels in the window, their sum of HU, and how many voxels of
    the region lie at the sides of the scan."""
    sums = np.zeros((1 + len(levels), 3))
    upright = int(np.argmax(np.abs(volume.ijk_to_ras[2, :3])))  # its ends do not cut a level
    across = [axis for axis in range(3) if axis != upright]
    last = np.array(volume.shape_ijk) - 1
    for k, (inside, image) in enumerate(zip(region, volume.array, strict=True)):
        at = np.argwhere(inside)
        ijk = np.column_stack([at[:, 1], at[:, 0], np.full(len(at), k)])
        hu = image[inside].astype(np.float64)
        fits = np.ones(len(hu), bool) if window is None else (hu >= window[0]) & (hu <= window[1])
        aside = ((ijk == 0) | (ijk == last))[:, across].any(1)
        height = ijk_to_ras_points(ijk, volume.ijk_to_ras)[:, 2]
        parts = [np.ones(len(hu), bool), *((height >= low) & (height < high) for low, high in levels.values())]
        sums += [
            (np.count_nonzero(part & fits), hu[part & fits].sum(), np.count_nonzero(part & aside)) for part in parts
        ]
    return sums


def _rows(
    tissue: str, sums: FloatArray, levels: dict[str, tuple[float, float]], cut: bool, voxel_ml: float
) -> list[Tissue]:
    rows = []
    for level, (count, total, aside) in zip([WHOLE, *levels], sums.tolist(), strict=True):
        ml = count * voxel_ml
        height = levels[level][1] - levels[level][0] if level in levels else None
        area = 10 * ml / height if height else None
        rows.append(
            Tissue(tissue, level, ml, area, total / count if count else None, cut if level == WHOLE else aside > 0)
        )
    return rows
