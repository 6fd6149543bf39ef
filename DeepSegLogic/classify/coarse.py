"""A coarse copy of a volume, to look at quickly: voxels of 8 mm along R, A and S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.types import ScalarArray
from ..data.volume import Volume

STEP_MM = 8.0
SIZE = 56  # voxels along A and R: 448 mm, a trunk without arms
MOST_SLICES = 320
_THIN_MM = 2.5
_AIR_HU, _BODY_HU = -1000.0, -300.0


@dataclass(frozen=True)
class Coarse:
    """A volume on a grid of 8 mm.

    Attributes:
        array: (S, A, R), float32; outside the volume -1000. Its middle along A and R is that of the body.
        bottom_mm: S coordinate of the centre of the lowest slice.
        size_mm: extent of the volume along R, A and S.
    """

    array: ScalarArray
    bottom_mm: float
    size_mm: tuple[float, float, float]


def thinned(volume: Volume) -> Volume:
    """A volume without most of its voxels, 2.5 mm apart at most; one that is thin already stays as it is."""
    step = np.maximum(np.floor(_THIN_MM / volume.spacing_kji + 1e-6).astype(int), 1)
    array = np.ascontiguousarray(volume.array[tuple(slice(None, None, s) for s in step)])
    matrix = volume.ijk_to_ras @ np.diag([*step[::-1].astype(float), 1.0])
    return Volume(array, matrix, volume.name, volume.modality)


def coarse_copy(volume: Volume) -> Coarse:
    """The coarse copy of a volume, also of an oblique one.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import Volume
        >>> from DeepSegLogic.classify.coarse import coarse_copy
        >>> coarse_copy(Volume(np.zeros((40, 64, 64), np.int16), np.diag([3.0, 3.0, 4.0, 1.0]))).array.shape
        (20, 56, 56)
    """
    from scipy.ndimage import affine_transform, uniform_filter

    thin = thinned(volume)
    array, matrix = np.maximum(thin.array.astype(np.float32), _AIR_HU), thin.ijk_to_ras
    size = np.maximum(np.rint(STEP_MM / thin.spacing_kji).astype(int), 1)
    array = uniform_filter(array, size, mode="nearest") if size.max() > 1 else array

    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in thin.shape_ijk], [1.0])).reshape(4, -1)
    ends = (matrix @ corners)[:3]
    low, extent = ends.min(1), np.ptp(ends, axis=1)
    slices = int(np.clip(round(extent[2] / STEP_MM), 1, MOST_SLICES))
    bottom = low[2] + (extent[2] - (slices - 1) * STEP_MM) / 2
    middle = _body_centre(array, matrix)
    corner = [*(middle - (SIZE - 1) / 2 * STEP_MM), bottom]
    wanted = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    wanted[:3, 3] = corner
    ijk = np.linalg.inv(matrix) @ wanted
    result = np.empty((slices, SIZE, SIZE), np.float32)
    offset = ijk[:3, 3][::-1]
    # Half a voxel beyond the outer ones still belongs to the volume.
    padded = np.pad(array, 1, mode="edge")
    affine_transform(padded, ijk[:3, :3][::-1, ::-1], offset + 1, output=result, order=1, mode="constant", cval=_AIR_HU)
    return Coarse(result, float(bottom), (float(extent[0]), float(extent[1]), float(extent[2])))


def _body_centre(array: npt.NDArray[Any], matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """R and A in mm of the middle of what is denser than fat; of the whole volume if nothing is."""
    look = array[:: max(1, len(array) // 40), ::2, ::2]
    places = np.argwhere(look > _BODY_HU)
    at = places.mean(0) if len(places) else (np.array(look.shape) - 1) / 2
    kji = at * np.array([max(1, len(array) // 40), 2, 2])
    centre: npt.NDArray[Any] = (matrix @ np.array([*kji[::-1], 1.0]))[:2]
    return centre
