"""Lesions: the separate pieces of a structure, and which of two time points are the same by overlap."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from ..data.boxes import box_of, boxes_by_label, grown, matrix_of
from ..data.itk import sitk_image
from ..data.label_map import LabelMap, Structure, structure_named
from ..data.types import FloatArray
from .matching import Seen, seen
from .registration import Registration
from .time_point import TimePoint

LEAST_ML = 0.03
"""Volume of a lesion, below which a piece is not counted: a sphere of 4 mm."""
_SHARE = 0.2  # of the smaller lesion: less overlap is two neighbours that touch
_NEAR_MM = 10.0  # distance of the centres of two small lesions without overlap that are the same
_NAMES = re.compile(r"lesion|tumou?r|nodule|metasta|cyst|(?<!s)mass(?!e)|aneurysm|calcul|stone|hemorrhage|haemorrhage")


@dataclass(frozen=True, eq=False)
class Group:
    """Lesions that are the same: one at each time, or several that merged or split; none where one is new or gone."""

    before: list[Seen]
    after: list[Seen]


def is_lesion(structure: Structure, chosen: Collection[str] | None) -> bool:
    """Whether the pieces of a structure are lesions.

    Args:
        chosen: names or titles of those that are; None to tell by the name.
    """
    if chosen is not None:
        return any(structure_named(name, [structure]) for name in chosen)
    return bool(_NAMES.search(f"{structure.name} {structure.title}".lower()))


def lesions_of(point: TimePoint, structure: Structure | None) -> tuple[TimePoint, int]:
    """A time point whose structures are the lesions of one, largest first; and how many pieces are too small.

    Lesions are connected over faces, edges and corners.
    """
    from scipy.ndimage import label

    shape, grid = point.label_map.shape_kji, point.label_map.ijk_to_ras
    array, structures, small = np.zeros(shape, np.uint16), list[Structure](), 0
    mask = point.label_map.mask(structure.name) if structure is not None else np.zeros(shape, bool)
    box = box_of(mask)
    if structure is not None and box is not None:
        pieces = label(mask[box], np.ones((3, 3, 3)))[0]
        sizes = np.bincount(pieces.ravel())[1:] * point.label_map.voxel_ml
        order = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n] >= LEAST_ML][: np.iinfo(np.uint16).max]
        small = len(sizes) - len(order)
        table = np.zeros(len(sizes) + 1, np.uint16)
        for number, n in enumerate(order, 1):
            table[n + 1] = number
            structures.append(replace(structure, value=number, name=f"{structure.name}_{number}", title=str(number)))
        array[box] = table[pieces]
    confidence = point.confidence.get(structure.name) if structure is not None else None
    known = {s.name: confidence for s in structures if confidence is not None}
    whole = frozenset(s.name for s in structures if structure is not None and structure.name in point.whole)
    lesions = LabelMap(array, grid, structures)
    return replace(point, label_map=lesions, confidence=known, mean_hu={}, whole=whole), small


def groups(baseline: TimePoint, follow_up: TimePoint, registration: Registration) -> list[Group]:
    """Lesions of two time points by overlap on the registered baseline, the largest first.

    Args:
        baseline, follow_up: by :func:`lesions_of`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    before, after = list(seen(baseline).values()), list(seen(follow_up).values())
    n = len(before)
    same = _overlaps(baseline, follow_up, registration)
    same += _near(before, after, registration, {b for b, _ in same}, {a for _, a in same})
    rows, columns = np.array([(b, n + a) for b, a in same], np.int32).reshape(-1, 2).T  # SciPy 1.11 takes only these
    graph = coo_array((np.ones(len(same)), (rows, columns)), shape=(n + len(after),) * 2)
    number, group = connected_components(graph, directed=False)
    found = [
        Group([before[i] for i in at if i < n], [after[i - n] for i in at if i >= n])
        for at in (np.flatnonzero(group == g).tolist() for g in range(number))
    ]
    return sorted(found, key=lambda one: -max(s.row.volume_ml for s in one.before + one.after))


def _overlaps(baseline: TimePoint, follow_up: TimePoint, registration: Registration) -> list[tuple[int, int]]:
    """Pairs (baseline, follow-up), counted from 0, that overlap by a good share of the smaller one."""
    array, grid = follow_up.label_map.array, follow_up.label_map.ijk_to_ras
    moving = sitk_image(baseline.label_map.array, baseline.label_map.ijk_to_ras)
    ratio = baseline.label_map.voxel_ml / follow_up.label_map.voxel_ml
    sizes = np.bincount(baseline.label_map.array.ravel())
    found = []
    for value, box in boxes_by_label(array).items():
        around = grown(box, 1, array.shape)
        here = np.asarray(array[around])
        fixed = sitk_image(here, matrix_of(around, grid))
        moved = sitk.GetArrayFromImage(
            sitk.Resample(moving, fixed, registration.transform, sitk.sitkNearestNeighbor, 0)
        )
        own = here == value
        for other, count in enumerate(np.bincount(moved[own])):
            if other and count >= _SHARE * min(np.count_nonzero(own), sizes[other] * ratio):
                found.append((other - 1, value - 1))
    return found


def _near(
    before: list[Seen], after: list[Seen], registration: Registration, taken: set[int], found: set[int]
) -> list[tuple[int, int]]:
    """Pairs of those left over whose centres are near, the nearest first; each is taken once."""
    left = [(i, s) for i, s in enumerate(before) if i not in taken]
    right = [(i, s) for i, s in enumerate(after) if i not in found]
    if not left or not right:
        return []
    moved = registration.to_baseline(np.array([_centre(s) for _, s in right]))
    distance = np.linalg.norm(np.array([_centre(s) for _, s in left])[:, None] - moved, axis=2)
    pairs = []
    while distance.size and distance.min() <= _NEAR_MM:
        b, a = np.unravel_index(int(distance.argmin()), distance.shape)
        pairs.append((left[b][0], right[a][0]))
        distance[b], distance[:, a] = np.inf, np.inf
    return pairs


def _centre(one: Seen) -> FloatArray:
    assert one.centre is not None
    return one.centre
