"""Closed surfaces of all structures of a label map, with shared boundaries."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..boxes import box_of, grown, matrix_of
from ..errors import ResourceError, UsageError
from ..free_memory import free_memory
from ..geometry import ijk_to_ras_points
from ..labels import LabelMap, Structure
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .fairing import SMOOTHING, fair
from .net import Net, any_corner, build_net

_BYTES_PER_VOXEL = 14  # measured at 384³ with 98 balls, faces and surfaces included
_APART = 0.04  # voxels by which sheets that would touch at a corner or an edge are parted


@dataclass
class Surface:
    """The closed, outward-oriented surface of one structure.

    Attributes:
        structure: whose it is.
        points: (N, 3) float64, RAS in mm.
        triangles: (M, 3) int64 indices of points, counter-clockwise seen from outside.
    """

    structure: Structure
    points: np.ndarray
    triangles: np.ndarray


@dataclass
class SurfaceSet:
    """Surfaces of the structures of one label map that have voxels, in label order.

    Attributes:
        smoothing: name of the smoothing that made them.
    """

    surfaces: list[Surface] = field(default_factory=list)
    smoothing: str = "standard"

    def __iter__(self):
        return iter(self.surfaces)

    def __len__(self):
        return len(self.surfaces)

    def __getitem__(self, name: str) -> Surface:
        return next(s for s in self.surfaces if s.structure.name == name)


def extract_surfaces(
    label_map: LabelMap,
    structures: list[str] | None = None,
    *,
    smoothing: str = "standard",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Extract the surfaces of structures in one pass.

    Every surface is closed, also where the volume's border cuts a structure, each of its edges has two faces
    and each of its points one sheet. Structures that touch share their boundary point for point. Each one
    encloses the volume of its voxels, see :mod:`DeepSegLogic.surfaces.fairing`.

    Args:
        structures: names; None for all. Those left out count as background.
        smoothing: a key of :data:`~DeepSegLogic.surfaces.fairing.SMOOTHING`.

    Raises:
        UsageError: an unknown structure or smoothing.
        ResourceError: memory does not suffice; with the figure.
        Cancelled: ``cancel`` said so.
    """
    if smoothing not in SMOOTHING:
        raise UsageError(
            f"There is no smoothing named {smoothing!r}.",
            f"Choose one of {', '.join(SMOOTHING)}.",
            code="usage.smoothing",
        )
    wanted = label_map.structures if structures is None else [label_map.structure(n) for n in structures]
    progress("surfaces", 0.0, "boundaries")
    net = _net_of(label_map, [s.value for s in wanted])
    check(cancel)
    progress("surfaces", 0.2, "smoothing")
    positions = fair(net, smoothing)
    check(cancel)
    result = SurfaceSet(smoothing=smoothing)
    mirrored = np.linalg.det(label_map.ijk_to_ras[:3, :3]) < 0  # such a grid turns surfaces inside out
    sheets = _Sheets(net, positions)
    for done, structure in enumerate(wanted):
        check(cancel)
        progress("surfaces", 0.6 + 0.4 * done / len(wanted), structure.title)
        if structure.value in sheets.faces:
            points, triangles = sheets.of(structure.value)
            points = ijk_to_ras_points(points, label_map.ijk_to_ras)
            triangles = np.ascontiguousarray(triangles[:, ::-1]) if mirrored else triangles
            result.surfaces.append(Surface(structure, points, triangles))
    progress("surfaces", 1.0, "done")
    return result


def update_surfaces(
    previous: SurfaceSet, label_map: LabelMap, changed: tuple[slice, slice, slice], before: np.ndarray
) -> SurfaceSet:
    """Surfaces after an edit: only structures that the edit touched, and their neighbours, are made anew.

    Args:
        previous: surfaces of the label map as it was.
        label_map: as it is now.
        changed: box (K, J, I) outside of which nothing changed.
        before: the voxels of that box as they were.

    Returns:
        a new set; surfaces that stayed are the same objects.
    """
    around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in changed)
    touched = (set(np.unique(before)) | set(np.unique(label_map.array[around]))) - {0}
    renewed = [s.name for s in label_map.structures if s.value in touched]
    kept = {s.structure.value: s for s in previous if s.structure.value not in touched}
    if not renewed:
        return SurfaceSet(list(previous), previous.smoothing)
    # Neighbours are needed so that shared boundaries come out shared; only the touched ones are exchanged.
    fresh = extract_surfaces(_crop_around(label_map, touched), smoothing=previous.smoothing)
    kept |= {s.structure.value: s for s in fresh if s.structure.value in touched}
    return SurfaceSet([kept[s.value] for s in label_map.structures if s.value in kept], previous.smoothing)


def _crop_around(label_map: LabelMap, values: set[int]) -> LabelMap:
    """The part of a label map that holds some structures whole, and two voxels more."""
    held = box_of(np.isin(label_map.array, list(values))) or (slice(0, 1),) * 3
    box = grown(held, 2, label_map.array.shape)
    return LabelMap(label_map.array[box], matrix_of(box, label_map.ijk_to_ras), label_map.structures)


def _net_of(label_map: LabelMap, values: list[int]) -> Net:
    """The net of some labels, from the part of the volume that holds them."""
    array = label_map.array
    keep = np.zeros(int(array.max(initial=0)) + 1, array.dtype)
    keep[[v for v in values if v < len(keep)]] = [v for v in values if v < len(keep)]
    if not keep[1:].all():
        array = keep[array]
    box = box_of(array)
    if box is None:
        return build_net(np.zeros((1, 1, 1), array.dtype))
    _check_memory([s.stop - s.start for s in box])
    return build_net(array[box], [s.start for s in box])


def _check_memory(shape: list[int]) -> None:
    """Raise :class:`ResourceError` if so many voxels cannot be worked on, rather than be killed half-way."""
    needed = _BYTES_PER_VOXEL * math.prod(shape)
    free = free_memory()
    if needed > free:
        raise ResourceError(
            f"Surfaces of {'×'.join(map(str, shape[::-1]))} voxels need about {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free.",
            "Close other programs, choose fewer structures, or resample the label map to larger voxels.",
            code="resource.memory",
        )


class _Sheets:
    """Surfaces of single labels cut out of the net.

    Attributes:
        faces: by label the numbers of its faces; those above the net's count are seen from the other side.
    """

    def __init__(self, net: Net, positions: np.ndarray):
        self._net, self._positions = net, positions
        labels = np.concatenate([net.low, net.high])
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels)) if len(labels) else []
        groups = np.split(order, ends[:-1]) if len(labels) else []
        self.faces = {label: group for label, group in enumerate(groups) if label > 0 and len(group)}
        turned = [0, 3, 2, 1]  # the first corner stays, so that both sides split a face alike
        near, far = net.quads * 4 + net.fans[:, 0], net.quads * 4 + net.fans[:, 1]
        self._sheets = np.concatenate([near, far[:, turned]])  # by face and corner: four times the vertex, and the fan
        self._crowded = np.concatenate([net.crowded, net.crowded[:, ::-1]])
        self._number = np.empty(4 * len(net.vertices), np.int64)  # scratch

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (I, J, K) and triangles, with a point of its own for every sheet at a vertex."""
        sheets = self._sheets.take(self.faces[label], 0)
        keys, corner = self._numbered(sheets)
        vertex = keys // 4
        points = self._positions.take(vertex, 0)
        if (keys % 4).any():
            _part_sheets(self._net, points, vertex, corner)
        return _triangulated(self._net, points, vertex, corner, self._crowded.take(self.faces[label], 0))

    def _numbered(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``np.unique`` with ``return_inverse``, but without sorting."""
        least = values.min()
        places = (values - least).astype(np.intp)  # much faster to write by than int32
        used = np.zeros(places.max() + 1, bool)
        used[places] = True
        keys = np.flatnonzero(used)
        number = self._number[: len(used)]
        number[keys] = np.arange(len(keys))
        return keys + least, number.take(places)


def _part_sheets(net: Net, points, vertex, corner) -> None:
    """Move the points of sheets that share a vertex a little apart, each towards its own faces."""
    again = np.flatnonzero(vertex[1:] == vertex[:-1])
    together = np.zeros(len(points), bool)
    together[again] = together[again + 1] = True
    touching = corner[any_corner(together.take(corner))]
    places = net.vertices[vertex[touching]]
    outward = (places.mean(1, keepdims=True) - places).reshape(-1, 3)
    towards = np.stack([np.bincount(touching.ravel(), part, len(points)) for part in outward.T], 1)
    points[together] += _APART * _unit(towards[together])


def _triangulated(net: Net, points, vertex, corner, crowded) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles per face; faces at an edge that four of them share get a point in its middle instead.

    Args:
        crowded: sides at which four faces of one label meet.
    """
    suspects = any_corner(crowded)
    ends = np.stack([corner[suspects], np.roll(corner[suspects], -1, 1)], 2)
    edges = ends.min(2) * len(points) + ends.max(2)
    crowded = crowded[suspects]
    _, where, counts = np.unique(edges[crowded], return_inverse=True, return_counts=True)
    shared = np.zeros(edges.shape, bool)
    shared[crowded] = counts[where] > 2
    odd = any_corner(shared)
    plain = np.delete(corner, suspects[odd], 0) if len(odd) else corner
    triangles = [plain[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)]
    places = net.vertices[vertex[corner[suspects[odd]]]]
    outward = np.cross(places[:, 1] - places[:, 0], places[:, 3] - places[:, 0])
    empties = places.mean(1) + outward / 2  # centres of the voxels that the faces look at
    extra, numbers = [], {}
    for at, empty, place in zip(odd, empties, places, strict=True):
        ring = []
        for c, first in enumerate(corner[suspects[at]]):
            ring.append(first)
            if shared[at, c]:
                key = (edges[at, c], *np.rint(2 * empty).astype(int))
                if key not in numbers:
                    numbers[key] = len(points) + len(extra)
                    middle = points[ends[at, c]].mean(0)
                    rest = place[[c, (c + 1) % 4]].mean(0)
                    extra.append(middle + _APART * _unit((empty - rest)[None])[0])
                ring.append(numbers[key])
        # The fan starts at a middle point, so that the crowded edge itself is used by no triangle.
        start = next(n for n, p in enumerate(ring) if p >= len(points))
        ring = ring[start:] + ring[:start]
        triangles.append(np.array([[ring[0], ring[n], ring[n + 1]] for n in range(1, len(ring) - 1)]))
    return np.concatenate([points, *([extra] if extra else [])]), np.concatenate(triangles)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
