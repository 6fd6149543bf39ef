"""What corrections need of a run: the most probable labels. Without torch, for processes that only receive it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class TopProbabilities:
    """The most probable labels of each voxel of the network's grid.

    Attributes:
        labels: (n, K, J, I) uint8 or uint16 label values, most probable first; 0 is background.
        values: (n, K, J, I) uint8, 0 to 255 for probability 0 to 1.
        ijk_to_ras: 4×4 of this grid, RAS in mm; coarser than the volume's as a rule.
        volume_digest: of the volume that was segmented, see :func:`DeepSegLogic.volume.volume_digest`.
    """

    labels: np.ndarray
    values: np.ndarray
    ijk_to_ras: np.ndarray
    volume_digest: str = ""

    def probability(self, value: int, shape, ijk_to_ras: np.ndarray) -> np.ndarray:
        """Probability of one label on another grid, e.g. a box of the volume.

        Args:
            value: the label's value, 0 for background.
            shape: (K, J, I) of the grid wanted.
            ijk_to_ras: its 4×4 matrix.

        Returns:
            float32 (K, J, I) in [0, 1], linearly interpolated, 0 outside of what was segmented.
        """
        return self._sampled(np.where(self.labels == value, self.values, 0).max(0), shape, ijk_to_ras)

    def uncertainty(self, shape, ijk_to_ras: np.ndarray) -> np.ndarray:
        """1 - the largest probability as uint8 (0 certain, 255 not at all, or not segmented), on the grid given."""
        certain = self._sampled(self.values[0], shape, ijk_to_ras)
        return np.rint((1 - certain) * 255).astype(np.uint8)

    def _sampled(self, source: np.ndarray, shape, ijk_to_ras: np.ndarray) -> np.ndarray:
        from scipy.ndimage import affine_transform

        ijk = np.linalg.inv(self.ijk_to_ras) @ ijk_to_ras
        kji = ijk[:3, :3][::-1, ::-1]
        # A rim of one voxel: the outermost voxels of a finer grid lie beyond the centres of these.
        sampled = affine_transform(
            np.pad(source, 1, mode="edge").astype(np.float32),
            kji,
            ijk[:3, 3][::-1] + 1,
            output_shape=tuple(shape),
            order=1,
            mode="constant",
        )
        return sampled / 255.0
