"""Cuts by the territories of vessel branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..data.affine import ijk_to_ras_points
from ..data.label_map import LabelMap
from ..data.types import ByteArray, FloatArray, PointsRas
from ..surfaces.surface import IndexArray
from ..util.errors import UsageError
from .cuts import Position, must_be_inside
from .subjects import point, subject
from .voxel_graph import neighbors


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
    _, _, source = dijkstra(neighbors(voxels, places), indices=starts, min_only=True, return_predecessors=True)
    reached = source >= 0  # a separate piece without a mark divides nothing
    return places[reached], owner[source[reached]]
