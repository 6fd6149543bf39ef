"""Closed surfaces of all structures of a label map, with shared boundaries."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..boxes import box_of, grown, matrix_of
from ..errors import ResourceError, UsageError
from ..free_memory import free_memory
from ..geometry import ijk_to_ras_points
from ..labels import LabelMap, Structure, known_structure
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .crossings import uncrossed
from .fairing import SMOOTHING, fair
from .net import Net, build_net
from .sheets import Sheets

_BYTES_PER_VOXEL = 14  # measured at 384³ with 98 balls, faces and surfaces included


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
        structure = known_structure(name, [s.structure for s in self.surfaces])
        return next(s for s in self.surfaces if s.structure is structure)


def extract_surfaces(
    label_map: LabelMap,
    structures: list[str] | None = None,
    *,
    smoothing: str = "standard",
    uncross: bool = False,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Extract the surfaces of structures in one pass.

    Every surface is closed, also where the volume's border cuts a structure, each of its edges has two faces
    and each of its points one sheet. Structures that touch share their boundary point for point. Each one
    encloses the volume of its voxels, see :mod:`DeepSegLogic.surfaces.fairing`.

    Args:
        structures: names or titles; None for all. Those left out count as background.
        smoothing: a key of :data:`~DeepSegLogic.surfaces.fairing.SMOOTHING`.
        uncross: mend triangles that cross each other, see :func:`~DeepSegLogic.surfaces.crossings.uncrossed`.

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
    wanted = label_map.structures
    if structures is not None:
        wanted = list(dict.fromkeys(label_map.structure(name) for name in structures))
    progress("surfaces", 0.0, "boundaries")
    net = _net_of(label_map, [s.value for s in wanted])
    check(cancel)
    progress("surfaces", 0.2, "smoothing")
    positions = fair(net, smoothing)
    check(cancel)
    result = SurfaceSet(smoothing=smoothing)
    mirrored = np.linalg.det(label_map.ijk_to_ras[:3, :3]) < 0  # such a grid turns surfaces inside out
    if uncross:
        progress("surfaces", 0.5, "crossing triangles")
        positions = uncrossed(net, positions, label_map.ijk_to_ras, cancel)
    sheets = Sheets(net, positions)
    for done, structure in enumerate(wanted):
        check(cancel)
        progress("surfaces", 0.6 + 0.4 * done / len(wanted), structure.title)
        if structure.value in sheets.faces:
            points, triangles, _ = sheets.of(structure.value)
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
