"""An image with its place in space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .records import GridRecord
from .types import Affine, FloatArray, Shape, VolumeArray


@dataclass(eq=False, repr=False)
class Volume(GridRecord):
    """A scalar 3D image.

    Volumes are equal if their voxels, grids and other fields are, wherever they were read from.

    Attributes:
        array: voxels, (K, J, I), C-contiguous, int16 or float32; CT in HU.
        ijk_to_ras: 4×4 float64, maps (I, J, K, 1) to RAS in mm. Oblique, anisotropic and left-handed
            grids are ordinary.
        name: for the user, e.g. the file's stem or the node's name.
        modality: ``"CT"``, ``"MR"``, … where the source says so, else None.
        warnings: what a reader had to correct or found suspicious, one sentence each.
        source: the DICOM series that it was read from, its folder or one of its slices; empty for other volumes.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import Volume
        >>> ct = Volume(np.full((20, 64, 48), -1000, np.int16), np.diag([0.8, 0.8, 5.0, 1.0]), "phantom", "CT")
        >>> ct
        Volume(name='phantom', dtype='int16', shape_kji=(20, 64, 48), spacing_ijk=(0.8, 0.8, 5.0), orientation='RAS')
    """

    array: VolumeArray
    ijk_to_ras: Affine
    name: str = "volume"
    modality: str | None = None
    warnings: list[str] = field(default_factory=list)
    source: str = field(default="", compare=False)

    @property
    def shape(self) -> Shape:
        """Former name of :attr:`shape_kji`."""
        return self.shape_kji

    @property
    def spacing(self) -> FloatArray:
        """Former name of :attr:`spacing_ijk`."""
        return self.spacing_ijk

    def _shown(self) -> Iterator[tuple[str, object]]:
        yield "name", self.name
        yield from super()._shown()


def compact(array: npt.NDArray[Any]) -> VolumeArray:
    """int16 where it holds all voxels exactly, else float32; C-contiguous."""
    if array.dtype == np.int16:
        return np.ascontiguousarray(array)
    fits = array.size == 0 or (array.min() >= -32768 and array.max() <= 32767)
    whole = array.dtype.kind in "iu" or (fits and bool((array == np.rint(array)).all()))
    if fits and whole:
        return np.ascontiguousarray(array, np.int16)
    return np.ascontiguousarray(array, np.float32)


def volume_digest(volume: Volume) -> str:
    """SHA-256 of a volume's voxels and geometry, to tell whether saved data belong to it."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).data)
    digest.update(np.ascontiguousarray(volume.ijk_to_ras, np.float64).data)
    return f"sha256:{digest.hexdigest()}"
