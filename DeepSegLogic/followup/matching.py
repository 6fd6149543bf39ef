"""What each time point shows, and which structures of two time points are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.affine import ijk_to_ras_points
from ..data.boxes import boxes_by_label, grown, within
from ..data.label_map import Structure
from ..data.types import FloatArray, MaskArray
from ..evaluation.structures import pair_structures
from ..review.measurements import Measurement
from .time_point import TimePoint


@dataclass(frozen=True, eq=False)
class Seen:
    """A structure, or a lesion, at one time.

    Attributes:
        structure: as its label map has it.
        row: its measures.
        centre: of mass (3,), RAS mm of its own scan; None without voxels.
        border_ml: volume of its voxels that share a face with others.
    """

    structure: Structure
    row: Measurement
    centre: FloatArray | None = None
    border_ml: float = 0.0

    @property
    def cut(self) -> bool:
        """Whether the field of view cuts it."""
        return self.row.cut


@dataclass(frozen=True, eq=False)
class Match:
    """A structure that has voxels at both times."""

    before: Seen
    after: Seen

    def of(self, number: int) -> Structure:
        """The structure as the baseline (0) or the follow-up (1) has it."""
        return (self.before, self.after)[number].structure

    def centre(self, number: int) -> FloatArray:
        """Its centre, likewise."""
        centre = (self.before, self.after)[number].centre
        assert centre is not None
        return centre


def seen(point: TimePoint) -> dict[int, Seen]:
    """Label value → what a time point shows of the structure."""
    rows = {row.name: row for row in point.measured()}
    found = {s.value: Seen(s, rows[s.name]) for s in point.label_map.structures}
    for layer in point.label_map.layers or [point.label_map]:
        boxes = boxes_by_label(layer.array)
        for structure in layer.structures:
            box = boxes.get(structure.value)
            if box is None:
                continue
            around = grown(box, 1, layer.shape_kji)
            mask = layer.array[around] == structure.value
            inside = mask[within(box, around)]
            ijk = np.argwhere(inside)[:, ::-1] + [s.start for s in box[::-1]]
            centre = ijk_to_ras_points(ijk.mean(0)[None], layer.ijk_to_ras)[0]
            border = np.count_nonzero(_border(mask)) * layer.voxel_ml
            found[structure.value] = Seen(structure, rows[structure.name], centre, border)
    return found


def matched(baseline: TimePoint, follow_up: TimePoint) -> tuple[list[tuple[Seen | None, Seen | None]], list[str]]:
    """All structures of two time points, paired by name or title, else by label value; and warnings.

    None stands for a structure that one side does not look for. Those that both lack are left out.
    """
    before, after = seen(baseline), seen(follow_up)
    pairs, by_value = pair_structures(follow_up.label_map, baseline.label_map)
    warnings = ["No structure has the same name at both times, so they are matched by label value."] if by_value else []
    found = []
    for pair in pairs:
        b = before[pair.reference.value] if pair.reference else None
        a = after[pair.prediction.value] if pair.prediction else None
        if any(s is not None and s.row.voxels for s in (b, a)):
            found.append((b, a))
    return found, warnings


def on_both(pairs: list[tuple[Seen | None, Seen | None]]) -> list[Match]:
    """Those with voxels at both times."""
    return [Match(b, a) for b, a in pairs if b is not None and a is not None and b.row.voxels and a.row.voxels]


def _border(mask: MaskArray) -> MaskArray:
    """Voxels of a mask that share a face with a voxel outside; those at its ends only if the mask was cut out there."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask, border_value=1))
