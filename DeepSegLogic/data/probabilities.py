"""The most probable labels of a run, which corrections use. No torch, so that any process can read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .affine import sampled
from .records import ArrayRecord
from .types import Affine, ByteArray, LabelArray, ScalarArray


@dataclass(eq=False, repr=False)
class TopProbabilities(ArrayRecord):
    """The most probable labels of each voxel of the network's grid.

    Attributes:
        labels: (n, K, J, I) uint8 or uint16 label values, most probable first; 0 is background.
        values: (n, K, J, I) uint8, 0 to 255 for probability 0 to 1.
        ijk_to_ras: 4×4 of this grid, RAS in mm; usually coarser than the volume's.
        volume_digest: of the volume that was segmented, see :func:`DeepSegLogic.data.volume.volume_digest`.
    """

    labels: LabelArray
    values: ByteArray
    ijk_to_ras: Affine
    volume_digest: str = ""

    @property
    def sound(self) -> bool:
        """Whether all fields are what they should be: somebody else may have made them."""
        labels, values, grid = self.labels, self.values, self.ijk_to_ras
        return (
            all(isinstance(array, np.ndarray) for array in (labels, values, grid))
            and labels.ndim == 4
            and labels.size > 0
            and labels.shape == values.shape
            and labels.dtype in (np.uint8, np.uint16)
            and values.dtype == np.uint8
            and grid.dtype == np.float64
            and grid.shape == (4, 4)
            and bool(np.isfinite(grid).all())
            and abs(np.linalg.det(grid)) > 1e-9
            and isinstance(self.volume_digest, str)
        )

    def probability(self, value: int, shape: Sequence[int], ijk_to_ras: Affine) -> ScalarArray:
        """Probability of one label on another grid, e.g. a box of the volume.

        Args:
            value: the label's value, 0 for background.
            shape: (K, J, I) of the other grid.
            ijk_to_ras: its 4×4 matrix.

        Returns:
            float32 (K, J, I) in [0, 1], linearly interpolated, 0 outside of what was segmented.
        """
        return self._sampled(np.where(self.labels == value, self.values, 0).max(0), shape, ijk_to_ras)

    def uncertainty(self, shape: Sequence[int], ijk_to_ras: Affine) -> ByteArray:
        """One minus the largest probability, 0 to 255, on the given grid; 255 outside of what was segmented."""
        certain = self._sampled(self.values[0], shape, ijk_to_ras)
        return np.rint((1 - certain) * 255).astype(np.uint8)

    def _sampled(self, source: ByteArray, shape: Sequence[int], ijk_to_ras: Affine) -> ScalarArray:
        # A rim of one voxel: the outermost voxels of a finer grid lie beyond the centres of these.
        rimmed = np.pad(source, 1, mode="edge").astype(np.float32)
        grid = self.ijk_to_ras.copy()
        grid[:3, 3] -= grid[:3, :3].sum(1)
        return sampled(rimmed, grid, shape, ijk_to_ras) / np.float32(255)
