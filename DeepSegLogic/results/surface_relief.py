"""Surfaces seen from the front, as a shaded picture: like :mod:`~DeepSegLogic.results.relief`, but smooth.

Triangles are drawn by points that lie at most 0.7 pixels apart, the nearest one in each pixel counts, and the picture
is twice as large first. So it needs no graphics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..data.affine import spacing_kji
from ..data.types import Affine, FloatArray, Triangles
from ..surfaces import Surface
from .relief import AMBIENT, LIGHT, Float32s, pixel_mm

_FINER = 2  # pixels drawn for one of the picture, along each edge
_APART = 0.7  # of a drawn pixel: so each pixel in a triangle has a point
_ROOM = 0.49  # of the picture, from its middle to the outermost point
_MOST = 2_000_000  # points drawn at a time
_DEPTHS = 1 << 24
_LEVELS = 1 << 10  # of brightness


def surface_relief(
    surfaces: Iterable[Surface],
    box: Sequence[slice],
    ijk_to_ras: Affine,
    background: tuple[int, int, int],
    size: int,
) -> npt.NDArray[np.uint8]:
    """A picture from the front: the patient's right is on the left, the head is at the top.

    Args:
        surfaces: in RAS mm.
        box: of the voxels that the surfaces bound, along (K, J, I) of a RAS grid; it fills the picture.
        ijk_to_ras: 4×4, of that grid.
        background: RGB.
        size: of the square picture in pixels.

    Returns:
        (size, size, 3) RGB.
    """
    wide, spacing = size * _FINER, spacing_kji(ijk_to_ras)
    pixel = pixel_mm([part.stop - part.start for part in box], spacing, wide)
    to_view, depth_mm = _view(box, ijk_to_ras, spacing)
    shown = [(s, (s.points @ to_view[:3, :3].T + to_view[:3, 3]).astype(np.float32)) for s in surfaces]
    # Surfaces of a few voxels, or on a coarser grid, keep their volume by bulging out of the box.
    pixel = max([pixel, *(float(np.abs(points[:, :2]).max(initial=0)) / (_ROOM * wide) for _, points in shown)])
    depth_mm = max([depth_mm, *(float(np.abs(points[:, 2]).max(initial=0)) / _ROOM for _, points in shown)])
    nearest = np.zeros(wide * wide, np.int64)
    palette = [np.array(background, np.float32)]
    for number, (surface, points) in enumerate(shown, start=1):
        palette.append(np.array(surface.structure.color, np.float32))
        light = _brightness(points, surface.triangles)
        depth = np.clip((points[:, 2] / depth_mm + 0.5) * (_DEPTHS - 1), 1, _DEPTHS - 1)
        seen = np.stack([wide / 2 + points[:, 0] / pixel, wide / 2 - points[:, 1] / pixel, depth, light * _LEVELS])
        for across, down, deep, bright in _drawn(np.asarray(seen, np.float32), surface.triangles):
            place = down.astype(np.int64) * wide + across.astype(np.int64)
            code = (deep.astype(np.int64) * _LEVELS + bright.astype(np.int64)) << 16 | number
            np.maximum.at(nearest, place, code)
    colors = np.stack(palette)[nearest & 0xFFFF]
    bright = np.where(nearest, (nearest >> 16) % _LEVELS / _LEVELS, 1).astype(np.float32)
    picture = (colors * bright[:, None]).reshape(size, _FINER, size, _FINER, 3).mean((1, 3))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _view(box: Sequence[slice], ijk_to_ras: Affine, spacing: FloatArray) -> tuple[Affine, float]:
    """4×4 from RAS to mm to the right and up in the picture and towards the viewer, from its middle; and how deep it is
    in mm."""
    k, j, i = ((part.start + part.stop - 1) / 2 for part in box)
    slow, middle, fast = spacing
    rows = [[-fast, 0, 0, fast * i], [0, 0, slow, -slow * k], [0, middle, 0, -middle * j], [0, 0, 0, 1]]
    return np.array(rows) @ np.linalg.inv(ijk_to_ras), float((box[1].stop - box[1].start + 2) * middle)


def _brightness(points: Float32s, triangles: Triangles) -> Float32s:
    """Lambert's law at each point (N, 3)."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    corners = triangles.T.ravel()
    normals = np.stack([np.bincount(corners, np.tile(part, 3), len(points)) for part in faces.T], 1)
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    diffuse = np.maximum(normals @ LIGHT / lengths / np.linalg.norm(LIGHT), 0)
    return np.asarray(np.minimum(AMBIENT + (1 - AMBIENT) * diffuse, 1 - 1 / _LEVELS), np.float32)


def _drawn(seen: Float32s, triangles: Triangles) -> Iterator[Float32s]:
    """Values (4, points) at points in all triangles that face the viewer; the first two are the place in pixels.

    Args:
        seen: (4, N) at the corners.
    """
    a, b, c = (seen[:, triangles[:, corner]] for corner in range(3))
    one, two = b - a, c - a
    facing = one[0] * two[1] - one[1] * two[0] < 0  # as down is positive
    a, one, two = a[:, facing], one[:, facing], two[:, facing]
    longest = np.sqrt(np.maximum((one[:2] ** 2).sum(0), (two[:2] ** 2).sum(0)))
    steps = np.maximum(1, np.ceil(longest / _APART)).astype(np.int32)
    order = np.argsort(steps, kind="stable")
    numbers, first = np.unique(steps[order], return_index=True)
    for number, group in zip(numbers.tolist(), np.split(order, first[1:]), strict=True):
        u, v = (np.asarray(n / number, np.float32)[:, None] for n in np.nonzero(np.tri(number + 1)[::-1]))
        for part in np.array_split(group, max(1, len(group) * len(u) // _MOST)):
            yield (a[:, part][:, None] + u * one[:, part][:, None] + v * two[:, part][:, None]).reshape(4, -1)
