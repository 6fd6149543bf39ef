"""The masks that a network draws of its findings, as a label map on the volume's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.affine import ras_to_ijk, sampled
from ..data.label_map import LabelMap, label_dtype
from ..data.terminology import structure_for
from ..data.types import Affine, FloatArray
from ..data.volume import Volume
from ..util.progress import Cancel, check, never_cancel
from .finding import BoxFinding


def label_masks(
    masks: FloatArray,
    boxes: FloatArray,
    findings: Sequence[BoxFinding],
    grid_to_ras: Affine,
    volume: Volume,
    cancel: Cancel = never_cancel,
) -> tuple[LabelMap, list[BoxFinding]]:
    """Masks as structures of a label map; where two overlap, the finding with the higher score has the voxel.

    Args:
        masks: (N, M, M, M) probabilities in ``boxes`` (N, 6), first and last corner as indices (Z, Y, X) of a grid.
        findings: what they are of, highest score first.
        grid_to_ras: 4×4, maps indices (X, Y, Z) of that grid to RAS in mm.
        volume: whose grid the label map gets.
        cancel: see :mod:`DeepSegLogic.util.progress`.

    Returns:
        the label map, and the findings with the names of their structures, for those of which a voxel is inside.
    """
    array = np.zeros(volume.shape_kji, label_dtype(len(findings)))
    for value in range(len(findings), 0, -1):
        check(cancel)
        matrix = grid_to_ras @ _placed(boxes[value - 1], masks.shape[1])
        mask = np.pad(masks[value - 1], 1)  # so that it ends where its box does, not at the middle of its last voxels
        corners = np.array(np.meshgrid(*[(-0.5, len(mask) - 0.5)] * 3)).reshape(3, -1)
        ijk = ras_to_ijk((matrix[:3, :3] @ corners).T + matrix[:3, 3], volume.ijk_to_ras)
        low = np.maximum(0, np.floor(ijk.min(0))).astype(int)[::-1]
        high = np.minimum(array.shape, np.ceil(ijk.max(0)).astype(int)[::-1] + 1)
        if np.any(low >= high):
            continue
        offset = np.eye(4)
        offset[:3, 3] = low[::-1]
        inside = sampled(mask, matrix, high - low, volume.ijk_to_ras @ offset) >= 0.5
        array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = value
    present = set(np.unique(array).tolist())
    named = [
        replace(one, segment=f"{one.kind}_{value}") if value in present else one
        for value, one in enumerate(findings, start=1)
    ]
    structures = [structure_for(one.segment, value) for value, one in enumerate(named, start=1) if one.segment]
    return LabelMap(array, volume.ijk_to_ras, structures), named


def masks_of(label_map: LabelMap, findings: Sequence[BoxFinding]) -> LabelMap:
    """A label map with the masks of these findings only."""
    kept = [s for s in label_map.structures if s.name in {one.segment for one in findings}]
    array = np.where(np.isin(label_map.array, [s.value for s in kept]), label_map.array, 0)
    return replace(label_map, array=array.astype(label_map.array.dtype), structures=kept)


def _placed(box: FloatArray, size: int) -> Affine:
    """4×4 from indices (X, Y, Z) of a mask of ``size`` voxels along each edge, with one more around it, to those of the
    grid that its box is on."""
    first, last = box[2::-1], box[:2:-1]
    step = (last - first) / size
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = first - step / 2
    return matrix
