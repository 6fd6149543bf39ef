"""Self-training: what a trained network is sure of in a CT without labels, so that the next training learns from it.

Its probabilities are averaged over three scales, and count only where they are high, where the density is possible and,
but for ribs, in the largest piece. Source: Lee, Pseudo-label, ICML workshop 2013; noise and deformation make the
student's task harder than the teacher's, as Xie et al., CVPR 2020, arXiv:1911.04252, advise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from ..data.types import ScalarArray, VolumeArray
from ..networks.unet import build_unet
from .samples import LOWER, MEAN, SD, UPPER
from .synthetic_ct import kind_of
from .train import Settings

SCALES = (1.0, 1.12, 0.9)
SURE = 0.85
_HU = {"bone": (80, 3072), "rib": (80, 3072), "bowel": (-1024, 400), "colon": (-1024, 400)}
_HU |= dict.fromkeys(("lung", "trachea"), (-1024, -300))
_HU_ELSEWHERE = (-20, 450)


@dataclass
class Teacher:
    """A network of a former stage.

    Attributes:
        weights: averaged ones.
        settings: that it was trained with.
    """

    weights: dict[str, torch.Tensor]
    settings: Settings

    def sure(self, ct: VolumeArray, spacing: tuple[float, float, float]) -> ScalarArray:
        """Index of the class in each voxel, (K, J, I) int16, or -1 where it is not sure.

        Args:
            ct: (K, J, I) HU on a RAS grid.
            spacing: mm along (K, J, I).
        """
        network = build_unet(self.settings.plan().architecture, 1, len(self.settings.classes)).eval()
        network.load_state_dict(self.weights)
        image = ((torch.from_numpy(ct).float().clamp(LOWER, UPPER) - MEAN) / SD)[None, None]
        highest, found = torch.zeros(ct.shape), torch.zeros(ct.shape, dtype=torch.int16)
        with torch.inference_mode():
            parts = [self._probabilities(network, image, spacing, scale) for scale in SCALES]
            for number in range(len(self.settings.classes)):  # one at a time: all do not fit into memory
                resized = [functional.interpolate(p[:, number : number + 1], ct.shape, mode="trilinear") for p in parts]
                mean = torch.stack(resized).mean(0)[0, 0]
                better = mean > highest
                highest[better], found[better] = mean[better], number
        found[highest < SURE] = -1
        return self._possible(found.numpy(), ndimage.uniform_filter(ct.astype(np.float32), 3))

    def _probabilities(
        self, network: nn.Module, image: torch.Tensor, spacing: tuple[float, float, float], scale: float
    ) -> torch.Tensor:
        from monai.inferers import sliding_window_inference

        edge = self.settings.spacing / scale
        size = [max(1, round(n * s / edge)) for n, s in zip(image.shape[2:], spacing, strict=True)]
        small = functional.interpolate(image, size, mode="area")
        found = sliding_window_inference(
            small, self.settings.patch, 1, lambda patch: network(patch).softmax(1), 0.5, mode="gaussian"
        )
        assert isinstance(found, torch.Tensor)
        return found

    def _possible(self, found: ScalarArray, smooth: ScalarArray) -> ScalarArray:
        for number, name in enumerate(self.settings.classes[1:], 1):
            mask = found == number
            if not mask.any():
                continue
            kind = kind_of(name)
            low, high = _HU.get(kind, _HU_ELSEWHERE)
            kept = mask & (smooth >= low) & (smooth <= high)
            if kind != "rib":
                regions, count = ndimage.label(mask)
                kept &= regions == 1 + np.argmax(ndimage.sum_labels(mask, regions, np.arange(1, count + 1)))
            found[mask & ~kept] = -1
        return found
