"""Checks of a surface: is it a solid, and how far is it from its mask?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, TypedDict

import numpy as np

from ..data.affine import has_orthogonal_axes, ijk_to_ras_points, ras_to_ijk, spacing_ijk
from ..data.boxes import boxes_by_label
from ..data.label_map import LabelMap
from ..data.types import Affine, FloatArray, MaskArray, PointsRas, Slices, Triangles
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .face_distances import boundary_faces, centres_of, distances_of_faces
from .self_intersections import crossing_pairs
from .surface import IndexArray, Surface, polydata
from .surface_net import build_net
from .voxel_faces import VoxelFaces, voxel_faces

_SAMPLES = 20_000  # points of a surface or mask boundary where distances are measured


@dataclass(frozen=True)
class SurfaceQuality:
    """The checks of one surface. Lengths in mm, volumes in ml.

    Attributes:
        closed: every edge has two faces.
        edge_manifold: no edge has more than two faces.
        vertex_manifold: the faces at each point form one sheet.
        outward: all faces are oriented outwards.
        components: connected parts of the surface; the wall of a cavity is one of them.
        mask_components: connected parts of the mask; voxels that share a face or an edge are connected.
        euler: Euler number, V - E + F.
        triangles: their number.
        self_intersections: pairs of triangles that cross each other; None if libigl is not installed.
        mesh_ml, mask_ml, drift_percent: volume inside the surface, volume of the mask, and their difference.
        to_mask_mm: mean, 95th percentile and maximum of the distances from points of the surface to the
            boundary of the mask's voxels.
        from_mask_mm: the same from the centres of the boundary voxels' faces to the surface.
    """

    closed: bool
    edge_manifold: bool
    vertex_manifold: bool
    outward: bool
    components: int
    mask_components: int
    euler: int
    triangles: int
    self_intersections: int | None
    mesh_ml: float
    mask_ml: float
    drift_percent: float
    to_mask_mm: tuple[float, float, float]
    from_mask_mm: tuple[float, float, float]

    @property
    def sound(self) -> bool:
        """Whether the surface bounds a solid that can be printed or simulated."""
        return self.closed and self.edge_manifold and self.vertex_manifold and self.outward

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, with ``sound``."""
        return {**asdict(self), "sound": self.sound}


def check_surfaces(
    surfaces: Iterable[Surface],
    label_map: LabelMap,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> dict[str, SurfaceQuality]:
    """Check surfaces, and compare them with the masks they were made from.

    Args:
        surfaces: in RAS mm.
        label_map: the voxels that the surfaces were made from.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Returns:
        The checks by structure name.

    Raises:
        Cancelled: ``cancel`` returned True.
    """
    surfaces = list(surfaces)
    layers = label_map.layers or [label_map]
    layer_of = {s.value: layer for layer in layers for s in layer.structures}
    boxes = {value: box for layer in layers for value, box in boxes_by_label(layer.array).items()}
    qualities = {}
    for done, surface in enumerate(surfaces):
        check(cancel)
        progress("check", done / len(surfaces), surface.structure.title)
        qualities[surface.structure.name] = _quality(
            surface, layer_of[surface.structure.value], boxes[surface.structure.value]
        )
    progress("check", 1.0, "")
    return qualities


def _quality(surface: Surface, label_map: LabelMap, box: Slices) -> SurfaceQuality:
    from scipy.ndimage import generate_binary_structure, label

    value = surface.structure.value
    mask = label_map.array[box] == value
    volume = mesh_volume_ml(surface.points, surface.triangles)
    mask_ml = float(mask.sum()) * label_map.voxel_ml
    edges, counts, which, balanced = _edges(surface.triangles)
    closed, faces = bool((counts == 2).all()), voxel_faces(surface.points, surface.triangles, label_map.ijk_to_ras)
    suspects = faces.folded() if faces and closed and balanced else None
    crossing = crossing_pairs(surface.points, surface.triangles, suspects)
    return SurfaceQuality(
        closed=closed,
        edge_manifold=bool((counts <= 2).all()),
        vertex_manifold=_one_sheet_per_point(surface.triangles, which, len(surface.points)),
        outward=balanced and volume > 0,
        components=_components(edges[:, 0], edges[:, 1], len(surface.points)),
        mask_components=int(label(mask, generate_binary_structure(3, 2))[1]),
        euler=len(surface.points) - len(edges) + len(surface.triangles),
        triangles=len(surface.triangles),
        self_intersections=None if crossing is None else len(crossing),
        mesh_ml=volume,
        mask_ml=mask_ml,
        drift_percent=100 * (volume - mask_ml) / mask_ml,
        **_distances(surface, faces, mask, box, label_map.ijk_to_ras),
    )


def is_sound(surface: Surface) -> bool:
    """Whether a surface is closed, manifold and oriented outwards, see :attr:`SurfaceQuality.sound`."""
    _, counts, which, balanced = _edges(surface.triangles)
    closed = bool((counts == 2).all()) and balanced and mesh_volume_ml(surface.points, surface.triangles) > 0
    return closed and _one_sheet_per_point(surface.triangles, which, len(surface.points))


def faulty_triangles(triangles: Triangles) -> MaskArray:
    """(M,) bool: triangles with an edge that does not have exactly two faces."""
    _, counts, which, _ = _edges(triangles)
    faulty: MaskArray = (counts[which] != 2).any(1)
    return faulty


def mesh_volume_ml(points: PointsRas, triangles: Triangles) -> float:
    """Volume inside a closed surface in ml; negative if its triangles face inwards."""
    a, b, c = (points - points.mean(0))[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000


def _edges(triangles: Triangles) -> tuple[IndexArray, IndexArray, IndexArray, bool]:
    """Edges (E, 2), the number of faces at each, the edges of each triangle (M, 3), and whether every edge is used
    equally often in both directions."""
    ends = triangles.astype(np.int64)[:, [[0, 1], [1, 2], [2, 0]]]
    points = int(triangles.max(initial=0)) + 1
    codes, which, counts = np.unique(ends.min(2) * points + ends.max(2), return_inverse=True, return_counts=True)
    which = which.reshape(-1, 3)
    balance = np.bincount(which.ravel(), np.where(ends[..., 0] < ends[..., 1], 1, -1).ravel())
    return np.stack(np.divmod(codes, points), 1), counts, which, bool((balance == 0).all())


def _one_sheet_per_point(triangles: Triangles, which: IndexArray, points: int) -> bool:
    """Whether the faces at each point form one sheet: corners, joined across edges, make as many groups as points.

    Args:
        which: (M, 3) the edges of the triangles, from each corner to the next.
    """
    corners = np.arange(triangles.size).reshape(triangles.shape)
    start, end, edges = corners.ravel(), np.roll(corners, -1, 1).ravel(), which.ravel()
    first = np.empty(edges.max(initial=-1) + 1, np.int64)
    first[edges[::-1]] = start[::-1]  # of the sides at an edge
    first = first[edges]
    alike = triangles.ravel()[first] == triangles.ravel()[start]
    other = np.where(alike, first, end[first]), np.where(alike, end[first], first)
    more = first != start
    return points == _components(
        np.concatenate([start[more], end[more]]), np.concatenate([o[more] for o in other]), triangles.size
    )


def _components(a: IndexArray, b: IndexArray, nodes: int) -> int:
    """The number of connected components of a graph with edges from ``a`` to ``b``."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(nodes, nodes))
    return int(connected_components(graph, directed=False)[0])


class _Distances(TypedDict):
    to_mask_mm: tuple[float, float, float]
    from_mask_mm: tuple[float, float, float]


def _distances(
    surface: Surface, faces: VoxelFaces | None, mask: MaskArray, box: Slices, ijk_to_ras: Affine
) -> _Distances:
    """Between the surface and the faces of the mask's boundary voxels, both ways.

    Args:
        faces: of the surface.
    """
    offset, points = [s.start for s in box], _some(surface.points)
    to_mask = distances_to_boundary(points, mask, offset, ijk_to_ras)
    far = np.isinf(to_mask)
    to_mask[far] = distances_to_boundary(points[far], mask, offset, ijk_to_ras, 2)
    far = np.isinf(to_mask)
    if far.any():
        net = build_net(mask.astype(np.uint8), offset)
        triangles = np.concatenate([net.quads[:, [0, 1, 2]], net.quads[:, [0, 2, 3]]])
        to_mask[far] = distances_to_mesh(points[far], ijk_to_ras_points(net.vertices, ijk_to_ras), triangles)
    firsts, axes = boundary_faces(mask, offset, _SAMPLES)
    from_mask = np.full(len(axes), np.inf) if faces is None else distances_of_faces(faces, firsts, axes, ijk_to_ras)
    far = np.isinf(from_mask)
    if far.any():
        centres = ijk_to_ras_points(centres_of(firsts[far], axes[far]), ijk_to_ras)
        from_mask[far] = distances_to_mesh(centres, surface.points, surface.triangles)
    return {"to_mask_mm": _summary(to_mask), "from_mask_mm": _summary(from_mask)}


def _summary(distances: FloatArray) -> tuple[float, float, float]:
    """Mean, 95th percentile and maximum."""
    mean, most, all_ = distances.mean(), np.percentile(distances, 95), distances.max()
    return round(float(mean), 4), round(float(most), 4), round(float(all_), 4)


def _some(points: PointsRas) -> PointsRas:
    return points if len(points) <= _SAMPLES else points[:: -(-len(points) // _SAMPLES)]


def distances_to_mesh(points: PointsRas, corners: PointsRas, triangles: Triangles) -> FloatArray:
    """Distance in mm of each point (N, 3) to the nearest triangle of a mesh."""
    from vtkmodules.util import numpy_support
    from vtkmodules.vtkCommonCore import vtkDoubleArray
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

    function, distances = vtkImplicitPolyDataDistance(), vtkDoubleArray()
    function.SetInput(polydata(corners, triangles))
    # All points in one call. The sign means nothing if the mesh is not closed.
    function.FunctionValue(numpy_support.numpy_to_vtk(np.ascontiguousarray(points, float)), distances)
    return np.asarray(np.abs(numpy_support.vtk_to_numpy(distances)))


def distances_to_boundary(
    points: PointsRas, mask: MaskArray, offset: Sequence[int], ijk_to_ras: Affine, reach: int = 1
) -> FloatArray:
    """Distance in mm of each point to the nearest face between a voxel of a mask and one outside it, if it is near.

    Only the faces between the voxels around a point are compared, which is much faster than
    :func:`distances_to_mesh`. The distance is inf where another face could be nearer, and everywhere if the grid's axes
    are not orthogonal.

    Args:
        points: (N, 3), RAS in mm.
        mask: (K, J, I) bool.
        offset: (K, J, I) index of its first voxel on the grid of ``ijk_to_ras``.
        reach: number of voxels on each side of a point: 1 for twelve faces, 2 for 144.
    """
    spacing, nearest = spacing_ijk(ijk_to_ras), np.full(len(points), np.inf)
    if not has_orthogonal_axes(ijk_to_ras):
        return nearest
    padded = np.pad(mask, 2 * reach)  # so that points just outside have voxels around them
    places = ras_to_ijk(points, ijk_to_ras) - np.asarray(offset)[::-1] + 2 * reach
    voxel = np.floor(places).astype(np.intp)  # the last one before the corner that those around share
    inside = ((voxel >= reach - 1) & (voxel + reach < padded.shape[::-1])).all(1)
    strides = np.array([1, padded.shape[2], padded.shape[1] * padded.shape[2]])
    at, around = np.where(inside, voxel @ strides, (reach - 1) * strides.sum()), range(1 - reach, reach + 1)
    full = {b: padded.ravel().take(at + np.array(b) @ strides) for b in product(around, repeat=3)}
    away = ((places - voxel - 0.5) * spacing).T  # (3, N), from that corner
    # Squares along each axis: to the side behind a voxel, and to the voxel itself.
    sides = [{b: (away[n] - b * spacing[n]) ** 2 for b in around} for n in range(3)]
    voxels = [{b: _outside(away[n], (b - 1) * spacing[n], b * spacing[n]) ** 2 for b in around} for n in range(3)]
    for before in product(around, repeat=3):
        for n in (n for n in range(3) if before[n] < reach):
            u, v = (m for m in range(3) if m != n)
            behind = *before[:n], before[n] + 1, *before[n + 1 :]
            distance = sides[n][before[n]] + voxels[u][before[u]] + voxels[v][before[v]]
            np.minimum(nearest, distance, out=nearest, where=full[before] != full[behind])
    proven = inside & (np.sqrt(nearest) <= (reach * spacing[:, None] - np.abs(away)).min(0))
    return np.where(proven, np.sqrt(nearest), np.inf)


def _outside(values: FloatArray, low: float, high: float) -> FloatArray:
    """How far values lie outside an interval."""
    return np.asarray(np.maximum(np.maximum(low - values, values - high), 0))
