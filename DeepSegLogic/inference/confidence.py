"""What the network believed: probabilities gathered while the logits pass by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .plan import Plan

KEPT = 3  # most probable labels kept per voxel
_CHUNK = 2**24  # probabilities computed at a time


@dataclass
class TopProbabilities:
    """The most probable labels of each voxel of the network's grid.

    Attributes:
        labels: (n, K, J, I) uint8 or uint16 label values, most probable first; 0 is background.
        values: (n, K, J, I) uint8, 0 to 255 for probability 0 to 1.
        ijk_to_ras: 4×4 of this grid, RAS in mm; coarser than the volume's as a rule.
        volume_digest: of the volume that was segmented, see :func:`DeepSegLogic.pipeline.volume_digest`.
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
        """1 - the largest probability as uint8 (0 certain, 255 not at all), on the grid given."""
        certain = self._sampled(self.values[0], shape, ijk_to_ras)
        return np.rint((1 - certain) * 255).astype(np.uint8)

    def _sampled(self, source: np.ndarray, shape, ijk_to_ras: np.ndarray) -> np.ndarray:
        from scipy.ndimage import affine_transform

        ijk = np.linalg.inv(self.ijk_to_ras) @ ijk_to_ras
        kji = ijk[:3, :3][::-1, ::-1]
        sampled = affine_transform(
            source.astype(np.float32),
            kji,
            ijk[:3, 3][::-1],
            output_shape=tuple(shape),
            order=1,
            mode="constant",
        )
        return sampled / 255.0


class ConfidenceMeter:
    """Sums winning probabilities by label as rows of logits become complete.

    Args:
        plan: of the network.
        shape: (Z, Y, X) of its grid.
        grid_to_ras: 4×4 of that grid.
        keep: also keep the ``KEPT`` most probable labels of each voxel.
    """

    def __init__(self, plan: Plan, shape, grid_to_ras: np.ndarray, keep: bool):
        self._plan, self._grid_to_ras = plan, grid_to_ras
        highest = max(plan.labels, default=0)
        self._sum, self._count = np.zeros(highest + 1), np.zeros(highest + 1)
        self._seen = 0
        self._kept = None
        if keep:
            n = min(KEPT, plan.channels + (plan.regions is not None))
            dtype = np.uint8 if highest < 256 else np.uint16
            self._kept = np.zeros((n, *shape), dtype), np.zeros((n, *shape), np.uint8)

    def add(self, logits: torch.Tensor, base: int, final: int) -> None:
        """Take the rows from the last one seen up to ``final`` out of logits (C, rows, Y, X) from row ``base``."""
        plane = logits.shape[2] * logits.shape[3]
        step = max(1, _CHUNK // (logits.shape[0] * plane))
        for start in range(self._seen, final, step):
            stop = min(start + step, final)
            labels, values = self._probabilities(logits[:, start - base : stop - base])
            winner, best = labels[0].flatten(), values[0].flatten()
            self._sum += np.bincount(winner, best, len(self._sum))
            self._count += np.bincount(winner, minlength=len(self._count))
            if self._kept is not None:
                n = len(self._kept[0])
                self._kept[0][:, start:stop] = labels[:n]
                self._kept[1][:, start:stop] = np.rint(values[:n] * 255)
        self._seen = max(self._seen, final)

    def confidence(self) -> dict[str, float]:
        """Mean probability of each structure over the voxels that it won; structures without voxels are left out."""
        return {
            name: round(float(self._sum[value] / self._count[value]), 4)
            for value, name in self._plan.labels.items()
            if self._count[value]
        }

    def top(self) -> TopProbabilities | None:
        """The probabilities kept, if they were asked for."""
        if self._kept is None:
            return None
        return TopProbabilities(*self._kept, self._grid_to_ras)

    def _probabilities(self, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        n = KEPT if self._kept is not None else 1
        if self._plan.regions is None:
            values, labels = logits.topk(min(n, len(logits)), 0)
            values = (values - logits.logsumexp(0, keepdim=True)).exp_()
        else:
            labels, values = self._region_probabilities(logits)
        return labels.cpu().numpy().astype(np.int64), values.cpu().numpy()

    def _region_probabilities(self, logits: torch.Tensor):
        """A voxel's label is the last region written there; what a later region denies, an earlier one keeps."""
        left = torch.ones_like(logits[0])
        shares = []
        for channel in reversed(logits.sigmoid().unbind(0)):
            shares.append(channel * left)
            left = left * (1 - channel)
        shares = torch.stack([left, *reversed(shares)])
        values, index = shares.topk(min(KEPT, len(shares)), 0)
        return torch.tensor([0, *self._plan.regions], device=logits.device)[index], values
