"""An image with its place in space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from . import geometry


@dataclass
class Volume:
    """A scalar 3D image.

    Attributes:
        array: voxels, (K, J, I), C-contiguous, int16 or float32; CT in HU.
        ijk_to_ras: 4×4 float64, maps (I, J, K, 1) to RAS in mm. Oblique, anisotropic and left-handed
            grids are ordinary.
        name: for the user, e.g. the file's stem or the node's name.
        modality: ``"CT"``, ``"MR"``, … where the source says so, else None.
        warnings: what a reader had to correct or found suspicious, one sentence each.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "volume"
    modality: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (K, J, I)."""
        return self.array.shape

    @property
    def spacing(self) -> np.ndarray:
        """mm along (I, J, K)."""
        return geometry.spacing_of(self.ijk_to_ras)

    @property
    def orientation(self) -> str:
        """e.g. ``"LPS"``: where I, J and K point."""
        return geometry.orientation_of(self.ijk_to_ras)


def compact(array: np.ndarray) -> np.ndarray:
    """int16 where it holds all voxels exactly, else float32; C-contiguous."""
    fits = array.size == 0 or (array.min() >= -32768 and array.max() <= 32767)
    whole = array.dtype.kind in "iu" or (fits and (array == np.rint(array)).all())
    return np.ascontiguousarray(array, np.int16 if fits and whole else np.float32)


def volume_digest(volume: Volume) -> str:
    """SHA-256 of a volume's voxels and geometry, to tell whether kept data belong to it."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).data)
    digest.update(np.ascontiguousarray(volume.ijk_to_ras, np.float64).data)
    return f"sha256:{digest.hexdigest()}"
