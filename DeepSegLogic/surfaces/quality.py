"""What is known about a surface: is it a solid, and how far is it from its mask?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from ..geometry import ijk_to_ras_points
from ..labels import LabelMap
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .boundary import distances_to_boundary
from .crossings import crossing_pairs
from .extract import Surface

_SAMPLES = 20_000  # points of a surface or mask boundary that distances are taken at


@dataclass(frozen=True)
class SurfaceQuality:
    """Of one surface. Lengths in mm, volumes in ml.

    Attributes:
        closed: every edge has two faces.
        edge_manifold: no edge has more than two faces.
        vertex_manifold: the faces at each point form one sheet.
        outward: faces are oriented alike, and outwards.
        components: pieces of the surface; a cavity is one of its own.
        mask_components: pieces of the mask, voxels that touch by a face or an edge being one.
        euler: Euler number, V - E + F.
        triangles: their count.
        self_intersections: pairs of triangles that cross each other; None if libigl is not installed.
        mesh_ml, mask_ml, drift_percent: volume inside the surface, of the mask, and what they differ by.
        to_mask_mm: mean, 95th percentile and maximum of the distances from the surface's points to the
            boundary of the mask's voxels.
        from_mask_mm: the same from the middles of the boundary voxels' faces to the surface.
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

    def as_json(self) -> dict:
        """As plain JSON values, with ``sound``."""
        return {**asdict(self), "sound": self.sound}


def check_surfaces(
    surfaces: Iterable[Surface],
    label_map: LabelMap,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> dict[str, SurfaceQuality]:
    """Examine surfaces and compare them with the masks that they were made from; by the structure's name.

    Raises:
        Cancelled: ``cancel`` said so.
    """
    from scipy.ndimage import find_objects

    surfaces, boxes = list(surfaces), find_objects(label_map.array.astype(np.int32, copy=False))
    qualities = {}
    for done, surface in enumerate(surfaces):
        check(cancel)
        progress("check", done / len(surfaces), surface.structure.title)
        qualities[surface.structure.name] = _quality(surface, label_map, boxes[surface.structure.value - 1])
    progress("check", 1.0, "")
    return qualities


def _quality(surface: Surface, label_map: LabelMap, box: tuple[slice, slice, slice]) -> SurfaceQuality:
    from scipy.ndimage import generate_binary_structure, label

    value = surface.structure.value
    mask = label_map.array[box] == value
    volume = mesh_volume_ml(surface.points, surface.triangles)
    mask_ml = float(mask.sum()) * label_map.voxel_ml
    edges, counts, which, balanced = _edges(surface.triangles)
    crossing = crossing_pairs(surface.points, surface.triangles)
    return SurfaceQuality(
        closed=bool((counts == 2).all()),
        edge_manifold=bool((counts <= 2).all()),
        vertex_manifold=_one_sheet_per_point(surface.triangles, which, len(surface.points)),
        outward=balanced and volume > 0,
        components=_pieces(edges, len(surface.points)),
        mask_components=int(label(mask, generate_binary_structure(3, 2))[1]),
        euler=len(surface.points) - len(edges) + len(surface.triangles),
        triangles=len(surface.triangles),
        self_intersections=None if crossing is None else len(crossing),
        mesh_ml=volume,
        mask_ml=mask_ml,
        drift_percent=100 * (volume - mask_ml) / mask_ml,
        **_distances(surface, mask, box, label_map.ijk_to_ras),
    )


def is_sound(surface: Surface) -> bool:
    """Whether a surface is closed, manifold and outward, see :attr:`SurfaceQuality.sound`."""
    _, counts, which, balanced = _edges(surface.triangles)
    closed = bool((counts == 2).all()) and balanced and mesh_volume_ml(surface.points, surface.triangles) > 0
    return closed and _one_sheet_per_point(surface.triangles, which, len(surface.points))


def faulty_triangles(triangles: np.ndarray) -> np.ndarray:
    """(M,) bool, those with an edge that has another number of faces than two."""
    _, counts, which, _ = _edges(triangles)
    return (counts[which] != 2).any(1)


def mesh_volume_ml(points: np.ndarray, triangles: np.ndarray) -> float:
    """Volume inside a closed surface in ml; negative if it is inside out."""
    a, b, c = (points - points.mean(0))[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000


def _edges(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Edges (E, 2), how many faces each has, by triangle (M, 3) which they are, and whether each is run through
    both ways equally often."""
    ends = triangles.astype(np.int64)[:, [[0, 1], [1, 2], [2, 0]]]
    points = int(triangles.max(initial=0)) + 1
    codes, which, counts = np.unique(ends.min(2) * points + ends.max(2), return_inverse=True, return_counts=True)
    which = which.reshape(-1, 3)
    balance = np.bincount(which.ravel(), np.where(ends[..., 0] < ends[..., 1], 1, -1).ravel())
    return np.stack(np.divmod(codes, points), 1), counts, which, bool((balance == 0).all())


def _pieces(edges: np.ndarray, points: int) -> int:
    return _components(edges[:, 0], edges[:, 1], points)


def _one_sheet_per_point(triangles: np.ndarray, which: np.ndarray, points: int) -> bool:
    """Corners of triangles joined across edges: as many groups as points, if each point has one sheet.

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


def _components(a: np.ndarray, b: np.ndarray, nodes: int) -> int:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(nodes, nodes))
    return int(connected_components(graph, directed=False, return_labels=False))


def _distances(surface: Surface, mask: np.ndarray, box, ijk_to_ras: np.ndarray) -> dict[str, tuple]:
    """Between the surface and the faces of the mask's boundary voxels, both ways."""
    from .net import build_net

    offset, points = [s.start for s in box], _some(surface.points)
    net = build_net(mask.astype(np.uint8), offset)
    boundary = ijk_to_ras_points(net.vertices, ijk_to_ras)
    to_mask = distances_to_boundary(points, mask, offset, ijk_to_ras)
    far = np.isinf(to_mask)
    if far.any():
        faces = np.concatenate([net.quads[:, [0, 1, 2]], net.quads[:, [0, 2, 3]]])
        to_mask[far] = distances_to_mesh(points[far], boundary, faces)
    middles = _some(boundary[net.quads].mean(1))
    return {
        "to_mask_mm": summary(to_mask),
        "from_mask_mm": summary(distances_to_mesh(middles, surface.points, surface.triangles)),
    }


def summary(distances: np.ndarray) -> tuple[float, float, float]:
    """Mean, 95th percentile and maximum."""
    return tuple(round(float(v), 4) for v in (distances.mean(), np.percentile(distances, 95), distances.max()))


def distances_to_mesh(points: np.ndarray, corners: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Distance of each point (N, 3) to the nearest triangle."""
    from vtkmodules.util import numpy_support
    from vtkmodules.vtkCommonCore import vtkDoubleArray
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

    from .convert import polydata

    function, distances = vtkImplicitPolyDataDistance(), vtkDoubleArray()
    function.SetInput(polydata(corners, triangles))
    # All points in one call; signed, which says nothing if the mesh is not closed.
    function.FunctionValue(numpy_support.numpy_to_vtk(np.ascontiguousarray(points, float)), distances)
    return np.abs(numpy_support.vtk_to_numpy(distances))


def _some(points: np.ndarray) -> np.ndarray:
    return points if len(points) <= _SAMPLES else points[:: -(-len(points) // _SAMPLES)]
