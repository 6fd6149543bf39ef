"""What a trained network is sure of in a CT without labels, so that the next training may learn from it.

Self-training with a teacher (Lee, "Pseudo-label", 2013): its probabilities are averaged over three scales, and count
only where they are high, where the density is possible and, but for ribs, in the largest piece.
"""

from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from scipy import ndimage
from torch.nn import functional

from DeepSegLogic.networks.unet import build_unet
from DeepSegLogic.training.samples import LOWER, MEAN, SD, UPPER
from DeepSegLogic.training.train import Settings

SCALES = (1.0, 1.12, 0.9)
SURE = 0.85
HU = {"bone": (80, 3072), "lung": (-1024, -300), "trachea": (-1024, -300), "bowel": (-1024, 400), "soft": (-20, 450)}
BONES = ("vertebrae", "ribs", "sternum", "hip", "femur", "scapula", "clavicula", "sacrum")
BOWEL = ("stomach", "duodenum", "small_bowel", "colon")


@dataclass
class Teacher:
    """A network of a former stage: its averaged weights, and the settings that it was trained with."""

    weights: dict[str, torch.Tensor]
    settings: Settings

    def sure(self, ct: np.ndarray, spacing) -> np.ndarray:
        """Index of the class in each voxel, or -1 where it is not sure.

        Args:
            ct: (K, J, I) HU on a RAS grid.
            spacing: mm along (K, J, I).
        """
        network = build_unet(self.settings.plan().architecture, 1, len(self.settings.classes)).eval()
        network.load_state_dict(self.weights)
        image = ((torch.from_numpy(ct).float().clamp(LOWER, UPPER) - MEAN) / SD)[None, None]
        best = torch.zeros(ct.shape), torch.zeros(ct.shape, dtype=torch.int16)
        with torch.inference_mode():
            parts = [self._logits(network, image, spacing, scale) for scale in SCALES]
            for number in range(len(self.settings.classes)):  # one class at a time: all would not fit
                chance = sum(_resized(p[:, number : number + 1], ct.shape) for p in parts)[0, 0] / len(parts)
                better = chance > best[0]
                best[0][better], best[1][better] = chance[better], number
        found = best[1].numpy()
        found[best[0].numpy() < SURE] = -1
        return self._possible(found, ndimage.uniform_filter(ct.astype(np.float32), 3))

    def _logits(self, network, image: torch.Tensor, spacing, scale: float) -> torch.Tensor:
        size = [
            max(1, round(n * s / self.settings.spacing * scale)) for n, s in zip(image.shape[2:], spacing, strict=True)
        ]
        small = functional.interpolate(image, size, mode="area")

        def chances(patch: torch.Tensor) -> torch.Tensor:
            logits = network(patch)
            return (logits[0] if isinstance(logits, (list, tuple)) else logits).softmax(1)

        return sliding_window_inference(small, self.settings.patch, 1, chances, 0.5, mode="gaussian")

    def _possible(self, found: np.ndarray, smooth: np.ndarray) -> np.ndarray:
        for number, name in enumerate(self.settings.classes[1:], 1):
            mask = found == number
            if not mask.any():
                continue
            kept = mask
            if not name.startswith("ribs"):
                regions, count = ndimage.label(mask)
                kept = regions == 1 + np.argmax(ndimage.sum_labels(mask, regions, np.arange(1, count + 1)))
            low, high = HU[_tissue(name)]
            found[mask & ~(kept & (smooth >= low) & (smooth <= high))] = -1
        return found


def _tissue(name: str) -> str:
    if name.startswith(BONES):
        return "bone"
    return "bowel" if name in BOWEL else name.split("_")[0] if name.startswith(("lung", "trachea")) else "soft"


def _resized(image: torch.Tensor, shape) -> torch.Tensor:
    return functional.interpolate(image, tuple(shape), mode="trilinear")
