"""Networks that see their input a little differently, or drop a part of their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_SHIFT = 3  # voxels, at most
_CONTRAST, _BRIGHTNESS, _NOISE = 0.1, 0.1, 0.05  # of the normalised image, whose standard deviation is about one


class Augmented(nn.Module):
    """A network whose windows are changed on the way in, and whose output is changed back.

    Args:
        network: from (N, C, Z, Y, X) to logits of the same grid.
        mirror_axes: along which it may be mirrored, 0 for Z.
        seed: of what is drawn, which is the same for all windows.
    """

    def __init__(self, network: nn.Module, mirror_axes: Sequence[int], seed: int):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.network, self._seed = network, seed
        self._flips = [axis + 2 for axis in mirror_axes if rng.random() < 0.5]
        self._shift = rng.integers(-_SHIFT, _SHIFT + 1, 3).tolist()
        self._contrast = float(rng.uniform(1 - _CONTRAST, 1 + _CONTRAST))
        self._brightness = float(rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the windows (N, C, Z, Y, X)."""
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(self._seed)).to(x)
        shift = [s if n > 1 else 0 for s, n in zip(self._shift, x.shape[2:], strict=True)]  # 2D networks see one slice
        seen = x * self._contrast + self._brightness + _NOISE * noise
        y: torch.Tensor = self.network(_moved(seen, shift).flip(self._flips))
        return _moved(y.flip(self._flips), [-s for s in shift])


class WithDropout(nn.Module):
    """A network whose dropout stays on: the same one for the same window.

    Args:
        network: one that has :func:`dropouts`.
        seed: of what is dropped.
    """

    def __init__(self, network: nn.Module, seed: int):
        super().__init__()
        self.network, self._seed = network, seed

    def train(self, mode: bool = True) -> WithDropout:
        """Leaves dropout on, whatever the mode of the other layers."""
        super().train(mode)
        for layer in dropouts(self.network):
            layer.train()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the windows (N, C, Z, Y, X)."""
        with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(self._seed)
            y: torch.Tensor = self.network(x)
        return y


def _moved(x: torch.Tensor, shift: Sequence[int]) -> torch.Tensor:
    """A window (N, C, Z, Y, X) moved by voxels; what comes in repeats its border."""
    pads = [n for s in reversed(shift) for n in (max(s, 0), max(-s, 0))]
    z, y, x_ = (slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(shift, x.shape[2:], strict=True))
    return nn.functional.pad(x, pads, "replicate")[..., z, y, x_]


def dropouts(network: nn.Module) -> list[nn.Module]:
    """The layers that drop something in training."""
    return [layer for layer in network.modules() if isinstance(layer, _DROPOUTS) and layer.p > 0]
