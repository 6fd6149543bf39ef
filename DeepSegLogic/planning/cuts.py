"""Cuts that divide an organ: what all have in common, planes and ellipsoids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..data.affine import ras_to_ijk
from ..data.label_map import LabelMap
from ..data.types import ByteArray, FloatArray, PointsRas
from ..util.errors import UsageError
from ..util.words import counted
from .subjects import point

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
            raise UsageError(
                f"A plane through {counted(len(points), 'point')}.", "Give three points.", code="usage.plane"
            )
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


def _position(numbers: FloatArray) -> Position:
    r, a, s = numbers.tolist()
    return r, a, s
