"""Cuts by a free surface, as it is drawn by control points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.label_map import LabelMap
from ..data.types import ByteArray, FloatArray
from ..util.errors import UsageError
from ..util.words import counted
from .cuts import Position
from .subjects import point

_APART_MM = 0.1  # points nearer than this, as seen along the normal, lie above one another


@dataclass(frozen=True)
class FreeSurface:
    """A smooth surface through control points: the thin-plate spline over the plane across a direction.

    It goes on beyond its points, and never crosses itself. Its first side is the one that the normal points to.

    Attributes:
        points: four at least. Seen along the normal, no two are at the same place, and they do not lie on one line.
        normal: the direction across, of any length but 0.

    Raises:
        UsageError: such points or such a normal do not make a surface.
    """

    points: tuple[Position, ...]
    normal: Position

    def __post_init__(self) -> None:
        from scipy.spatial.distance import pdist

        if not point(self.normal, "normal of the surface").any():
            raise UsageError("The normal of the surface is 0.", "Give a direction.", code="usage.surface")
        if len(self.points) < 4:
            raise UsageError(
                f"A surface through {counted(len(self.points), 'point')}.", "Give four at least.", code="usage.surface"
            )
        flat = self.along(np.array([point(p, "point of the surface") for p in self.points]))[:, :2]
        if pdist(flat).min() < _APART_MM:
            raise UsageError(
                "Two points of the surface lie above one another.", "Move one of them aside.", code="usage.surface"
            )
        if np.linalg.svd(flat - flat.mean(0), compute_uv=False)[-1] < _APART_MM:
            raise UsageError(
                "The points of the surface lie on one line, as seen along its normal.",
                "Move one of them aside.",
                code="usage.surface",
            )

    @property
    def sides(self) -> tuple[str, ...]:
        return "side of the normal", "other side"

    def side_of(self, points: npt.NDArray[np.float32], center: FloatArray, label_map: LabelMap) -> ByteArray:
        """See :class:`~DeepSegLogic.planning.Cut`. Heights are bilinear between places a voxel apart."""
        from scipy.ndimage import map_coordinates

        shift = self.along(center[None])[0].astype(np.float32)
        u, v, height = self.axes.astype(np.float32) @ points + shift[:, None]
        step = float(label_map.spacing_ijk.min())
        low = float(u.min()), float(v.min())
        counts = [int((float(x.max()) - start) / step) + 2 for x, start in zip((u, v), low, strict=True)]
        grid = np.stack(np.meshgrid(*(np.arange(n) * step for n in counts), indexing="ij"), -1) + low
        heights = self.heights(grid.reshape(-1, 2)).reshape(counts).astype(np.float32)
        places = np.stack([(u - low[0]) / step, (v - low[1]) / step])
        return np.asarray(height < map_coordinates(heights, places, order=1, output=np.float32)).view(np.uint8)

    @property
    def axes(self) -> FloatArray:
        """(3, 3) unit vectors as rows: two across the normal, and the normal."""
        normal = np.array(self.normal, float) / np.linalg.norm(self.normal)
        u, v = np.linalg.svd(normal[None])[2][1:]
        return np.stack([u, v, normal])

    def along(self, places: FloatArray) -> FloatArray:
        """Places (N, 3) in RAS as (N, 3) coordinates along :attr:`axes`."""
        return np.asarray(places @ self.axes.T)

    def heights(self, flat: FloatArray) -> FloatArray:
        """How high along the normal the surface is at coordinates (N, 2) along the first two axes."""
        from scipy.interpolate import RBFInterpolator

        known = self.along(np.array(self.points, float))
        return np.asarray(RBFInterpolator(known[:, :2], known[:, 2], kernel="thin_plate_spline")(flat))
