"""The surfaces of all structures of a label map, in one pass and with shared boundaries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..data.affine import ijk_to_ras_points, spacing_ijk
from ..data.boxes import box_of
from ..data.label_map import LabelMap
from ..data.types import Affine, LabelArray
from ..util.errors import ResourceError, UsageError
from ..util.free_memory import free_memory
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .enlarged import blocks_in, coarse_matrix, cut_at_borders, volumes
from .fairing import SMOOTHING, fair, has_thick_slices
from .manifold import ManifoldSurfaces
from .self_intersections import repaired
from .surface import Surface, SurfaceSet
from .surface_net import Net, Places, build_net

_PIECE = 262144  # voxels per step, so that intermediate arrays stay in the processor's cache
_BYTES_PER_VOXEL = 12  # measured at 384³ with 98 balls, faces and surfaces included
_BYTES_IF_THICK = 18  # the same, times the ratio that other balls needed with and without bending


@checks_arguments
def make_surfaces(
    label_map: LabelMap,
    structures: Sequence[str] | None = None,
    *,
    smoothing: str = "standard",
    repair_crossings: bool = False,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Make the surfaces of structures, all in one pass.

    Every surface is closed, even where a structure ends at the border of the volume. It is manifold: each edge has
    two faces, and the faces at each point form one sheet. Structures that touch share their boundary point for point;
    those that overlap (:attr:`LabelMap.layers <DeepSegLogic.LabelMap.layers>`) do not.
    Each connected piece of a structure encloses the volume of its voxels, see :mod:`DeepSegLogic.surfaces.fairing`.

    Args:
        label_map: the voxels, on any grid (oblique, anisotropic, left-handed); it is not changed.
        structures: names or titles; None for all. The others count as background.
        smoothing: a key of :data:`~DeepSegLogic.surfaces.SMOOTHING`.
        repair_crossings: repair triangles that cross each other, see :mod:`DeepSegLogic.surfaces.self_intersections`.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Returns:
        The surfaces in RAS mm, without those of structures that have no voxels.

    Raises:
        UsageError: an unknown structure or smoothing.
        ResourceError: not enough memory; the message says how much is needed.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, make_surfaces
        >>> array = np.zeros((20, 20, 20), np.uint8)  # (K, J, I)
        >>> array[5:15, 5:15, 5:15] = 1
        >>> box = LabelMap(array, np.eye(4), [Structure(1, "box", "Box")])
        >>> surface = make_surfaces(box, smoothing="light")["box"]
        >>> surface.points.shape[1], surface.triangles.dtype
        (3, dtype('int64'))
        >>> surface.points.mean(0).round(2)  # mm, RAS
        array([9.5, 9.5, 9.5])
    """
    check_smoothing(smoothing)
    wanted = label_map.structures
    if structures is not None:
        wanted = list(dict.fromkeys(label_map.structure(name) for name in structures))
    if label_map.layers:
        result = SurfaceSet(smoothing=smoothing)
        for layer in label_map.layers:
            names = [s.name for s in layer.structures if s in wanted]
            result.surfaces += make_surfaces(
                layer, names, smoothing=smoothing, repair_crossings=repair_crossings, progress=progress, cancel=cancel
            )
        result.surfaces.sort(key=lambda s: s.structure.value)
        return result
    progress("surfaces", 0.0, "boundaries")
    net, corners, ijk_to_ras = _net_of(label_map, [s.value for s in wanted], as_given=smoothing == "none")
    check(cancel)
    progress("surfaces", 0.2, "smoothing")
    positions = fair(net, smoothing, spacing_ijk(ijk_to_ras), corners)
    check(cancel)
    result = SurfaceSet(smoothing=smoothing)
    mirrored = np.linalg.det(ijk_to_ras[:3, :3]) < 0  # such a grid turns surfaces inside out
    if repair_crossings:
        progress("surfaces", 0.5, "crossing triangles")
        positions = repaired(net, positions, corners, ijk_to_ras, cancel)
    manifold = ManifoldSurfaces(net, positions)
    for done, structure in enumerate(wanted):
        check(cancel)
        progress("surfaces", 0.6 + 0.4 * done / len(wanted), structure.title)
        if structure.value in manifold.labels:
            points, triangles, _ = manifold.of(structure.value, mirrored)
            points = ijk_to_ras_points(points, ijk_to_ras)
            result.surfaces.append(Surface(structure, points, triangles))
    progress("surfaces", 1.0, "done")
    return result


def _net_of(label_map: LabelMap, values: list[int], as_given: bool) -> tuple[Net, Places, Affine]:
    """The net of some labels, from the part of the volume that contains them; where its vertices start, and the 4×4
    matrix of its grid.

    Args:
        as_given: do not take an enlarged label map back to its coarse grid.
    """
    array, ijk_to_ras = label_map.array, label_map.ijk_to_ras
    present = _values_of(array)
    if not present <= {0, *values}:
        keep = np.zeros(max(present) + 1, array.dtype)
        keep[list(present.intersection(values))] = list(present.intersection(values))
        array = keep.take(array)
    box = box_of(array)
    if box is None:
        net = build_net(np.zeros((1, 1, 1), array.dtype))
        return net, net.vertices, ijk_to_ras
    blocks = None if as_given else blocks_in(box, array, label_map.array)
    if blocks is not None:
        array, ijk_to_ras = array[np.ix_(*(b.starts for b in blocks))], coarse_matrix(blocks, ijk_to_ras)
        box = box_of(array) or box
    _check_memory([s.stop - s.start for s in box], has_thick_slices(spacing_ijk(ijk_to_ras)))
    net = build_net(array[box], [s.start for s in box])
    if blocks is None:
        return net, net.vertices, ijk_to_ras
    net.voxels = volumes(net, blocks)
    return net, cut_at_borders(net.vertices, blocks), ijk_to_ras


def _values_of(array: LabelArray) -> set[int]:
    """The labels in an array, from the places where it changes: much faster than ``np.unique`` of all voxels."""
    flat = array.ravel()
    values = [flat[-1:]]
    for at in range(0, len(flat), _PIECE):
        piece = flat[at : at + _PIECE + 1]
        values.append(piece.take(np.flatnonzero(piece[1:] != piece[:-1])))
    return set(np.unique(np.concatenate(values)).tolist())


def _check_memory(shape: list[int], thick: bool) -> None:
    """Raise :class:`ResourceError` if there is not enough memory for so many voxels, before the system ends the run."""
    needed = (_BYTES_IF_THICK if thick else _BYTES_PER_VOXEL) * math.prod(shape)
    free = free_memory()
    if needed > free:
        raise ResourceError(
            f"Surfaces of {'×'.join(map(str, shape[::-1]))} voxels need about {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free.",
            "Close other programs, choose fewer structures, or resample the label map to larger voxels.",
            code="resource.memory",
        )


def check_smoothing(smoothing: str) -> None:
    """Raise :class:`UsageError` if there is no such smoothing."""
    if smoothing not in SMOOTHING:
        raise UsageError(
            f"Unknown smoothing {smoothing!r}.", f"Choose from {', '.join(SMOOTHING)}.", code="usage.smoothing"
        )
