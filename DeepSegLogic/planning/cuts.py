"""Cuts that divide an organ: planes, ellipsoids, and the territories of vessel branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ..data.affine import ijk_to_ras_points, ras_to_ijk
from ..data.label_map import LabelMap
from ..data.types import ByteArray, FloatArray, PointsRas
from ..surfaces.surface import IndexArray
from ..util.errors import UsageError
from .subjects import point, subject

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Position = tuple[float, float, float]
"""A point or direction in RAS, mm."""


class Cut(Protocol):
    """Divides points in space into numbered sides."""

    @property
    def sides(self) -> tuple[str, ...]:
        """What each side is called."""

    def side_of(self, points: npt.NDArray[np.float32], center: FloatArray, label_map: LabelMap) -> ByteArray:
        """The index of the side of each point.

        Args:
            points: (3, N), RAS in mm relative to ``center``.
            label_map: of the points.
        """


@dataclass(frozen=True)
class Plane:
    """A plane. Its first side is the one that the normal points to.

    Attributes:
        origin: any point of the plane.
        normal: of any length but 0.
    """

    origin: Position
    normal: Position

    def __post_init__(self) -> None:
        point(self.origin, "origin of the plane")
        if not point(self.normal, "normal of the plane").any():
            raise UsageError("The normal of the plane is 0.", "Give a direction.", code="usage.plane")

    @classmethod
    def through(cls, points: Sequence[npt.ArrayLike]) -> Plane:
        """The plane through three points, which run counter-clockwise as seen from its first side.

        Raises:
            UsageError: there are not three, or they lie on a line.
        """
        if len(points) != 3:
            raise UsageError(f"A plane through {len(points)} points.", "Give three points.", code="usage.plane")
        a, b, c = (point(p, "point of the plane") for p in points)
        normal = np.cross(b - a, c - a)
        if np.linalg.norm(normal) <= 1e-6 * np.linalg.norm(b - a) * np.linalg.norm(c - a):
            raise UsageError(
                "The three points of the plane lie on a line.", "Move one of them away from it.", code="usage.plane"
            )
        return cls(_position(a), _position(normal))

    @property
    def sides(self) -> tuple[str, ...]:
        return "side of the normal", "other side"

    def side_of(self, points: npt.NDArray[np.float32], center: FloatArray, label_map: LabelMap) -> ByteArray:
        """See :class:`Cut`. A point of the plane is on the first side."""
        normal = np.array(self.normal) / np.linalg.norm(self.normal)
        offset = np.float32(normal @ (np.array(self.origin) - center))
        return np.asarray(normal.astype(np.float32) @ points < offset).view(np.uint8)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, as of an enucleation. Its first side is the inside.

    Attributes:
        center: its middle.
        radii: half its axes; three equal ones for a sphere.
        axes: their directions, orthogonal.
    """

    center: Position
    radii: tuple[float, float, float]
    axes: tuple[Position, Position, Position] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def __post_init__(self) -> None:
        point(self.center, "center of the ellipsoid")
        if not (point(self.radii, "radii of the ellipsoid") > 0).all():
            raise UsageError("A radius of the ellipsoid is not above 0.", "Give three in mm.", code="usage.ellipsoid")
        rows = np.array([point(axis, "axes of the ellipsoid") for axis in self.axes])
        lengths = np.linalg.norm(rows, axis=1)
        across = rows @ rows.T - np.diag(lengths**2)
        if len(rows) != 3 or not lengths.all() or np.abs(across).max() > 1e-3 * lengths.min() ** 2:
            raise UsageError(
                "The axes of the ellipsoid are not at right angles.", "Give three such axes.", code="usage.ellipsoid"
            )

    @property
    def sides(self) -> tuple[str, ...]:
        return "inside", "outside"

    def side_of(self, points: npt.NDArray[np.float32], center: FloatArray, label_map: LabelMap) -> ByteArray:
        """See :class:`Cut`."""
        rows = np.array(self.axes) / np.linalg.norm(self.axes, axis=1, keepdims=True) / np.array(self.radii)[:, None]
        offset = rows @ (np.array(self.center) - center)
        scaled = rows.astype(np.float32) @ points - offset.astype(np.float32)[:, None]
        return np.asarray(np.einsum("ij,ij->j", scaled, scaled) > 1).view(np.uint8)


@dataclass(frozen=True)
class Territories:
    """The territories of vessel branches: each point belongs to the branch that is nearest to it.

    Attributes:
        marks: name of a branch → points of a line along it, in RAS mm; one point at least.
        vessel: the vessel that the marks lie on: name, title or label value. Its voxels first get the mark that is
            nearest along the vessel, and the organ is divided by them. None: the marks alone divide it.
    """

    marks: Mapping[str, Sequence[Position]]
    vessel: str | None = None

    def __post_init__(self) -> None:
        if len(self.marks) < 2 or not all(len(points) for points in self.marks.values()):
            raise UsageError(
                "Territories need two branches with a mark at least.", "Mark another branch.", code="usage.territories"
            )
        for name, points in self.marks.items():
            for place in points:
                point(place, f"mark {name!r}")

    @property
    def sides(self) -> tuple[str, ...]:
        return tuple(self.marks)

    def side_of(self, points: npt.NDArray[np.float32], center: FloatArray, label_map: LabelMap) -> ByteArray:
        """See :class:`Cut`.

        Raises:
            UsageError: a mark lies outside of the volume, or two are at the same place of the vessel.
        """
        from scipy.spatial import cKDTree

        seeds, owners = self._marked(label_map)
        if self.vessel is not None:
            seeds, owners = _spread(seeds, owners, self.sides, self.vessel, label_map)
        nearest = cKDTree(seeds - center).query(points.T)[1]
        return owners[np.asarray(nearest)].astype(np.uint8)

    def _marked(self, label_map: LabelMap) -> tuple[PointsRas, IndexArray]:
        """Points along all marks, half a voxel apart, and the branch of each."""
        step = float(label_map.spacing_ijk.min()) / 2
        lines = [_along(np.array(points, float), step) for points in self.marks.values()]
        for name, line in zip(self.marks, lines, strict=True):
            must_be_inside(line, f"mark {name!r}", label_map)
        return np.concatenate(lines), np.repeat(np.arange(len(lines)), [len(line) for line in lines])


def must_be_inside(points: PointsRas, what: str, label_map: LabelMap) -> None:
    """Check that points (N, 3) lie in the volume.

    Raises:
        UsageError: one does not; the message names ``what``.
    """
    ijk = ras_to_ijk(points, label_map.ijk_to_ras)
    if ((ijk < -0.5) | (ijk > np.array(label_map.shape_ijk) - 0.5)).any():
        raise UsageError(
            f"The {what} lies outside of the volume.", "Coordinates are R, A and S in mm.", code="usage.outside"
        )


def _along(points: PointsRas, step: float) -> PointsRas:
    """Points along a polyline, at most ``step`` apart."""
    pieces = [points[:1]]
    for start, end in pairwise(points):
        count = int(np.ceil(np.linalg.norm(end - start) / step))
        pieces.append(start + np.arange(1, count + 1)[:, None] / max(count, 1) * (end - start))
    return np.concatenate(pieces)


def _spread(
    seeds: PointsRas, owners: IndexArray, names: Sequence[str], vessel: str, label_map: LabelMap
) -> tuple[PointsRas, IndexArray]:
    """The voxels of a vessel that are connected to a mark, and the branch that is nearest along the vessel."""
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import cKDTree

    structure = subject(label_map, vessel)
    voxels = np.argwhere(label_map.mask(structure.name))
    places = ijk_to_ras_points(voxels[:, ::-1], label_map.ijk_to_ras)
    at = np.asarray(cKDTree(places).query(seeds)[1])
    starts, first = np.unique(at, return_index=True)
    owner = np.full(len(places), -1)
    owner[starts] = owners[first]
    clash = np.flatnonzero(owner[at] != owners)
    if len(clash):
        one, other = names[owner[at[clash[0]]]], names[owners[clash[0]]]
        raise UsageError(
            f"The marks {one!r} and {other!r} are at the same place of {structure.title or structure.name}.",
            "Move one of them along its branch.",
            code="usage.territories",
        )
    _, _, source = dijkstra(_neighbors(voxels, places), indices=starts, min_only=True, return_predecessors=True)
    reached = source >= 0  # a separate piece without a mark divides nothing
    return places[reached], owner[source[reached]]


def _neighbors(voxels: IndexArray, places: PointsRas) -> csr_matrix[np.float64]:
    """The graph of voxels that share a corner at least, weighted by their distance in mm."""
    from scipy.sparse import coo_matrix

    low, high = voxels.min(0), voxels.max(0)
    number = np.full(high - low + 3, -1)
    inner = voxels - low + 1
    number[tuple(inner.T)] = np.arange(len(voxels))
    offsets = [o for o in np.ndindex(3, 3, 3) if o > (1, 1, 1)]  # one of each two opposite ones
    rows, columns = [], []
    for offset in offsets:
        beside = number[tuple((inner + np.array(offset) - 1).T)]
        rows.append(np.flatnonzero(beside >= 0))
        columns.append(beside[beside >= 0])
    a, b = np.concatenate(rows), np.concatenate(columns)
    lengths = np.linalg.norm(places[a] - places[b], axis=1)
    both = np.concatenate([a, b]), np.concatenate([b, a])
    return coo_matrix((np.tile(lengths, 2), both), shape=(len(voxels),) * 2).tocsr()


def _position(numbers: FloatArray) -> Position:
    r, a, s = numbers.tolist()
    return r, a, s
