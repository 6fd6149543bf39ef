"""What a backend says about a network: how its input is made and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Normalization:
    """Intensity normalisation of the input.

    Attributes:
        scheme: ``"ct"`` (clip to [lower, upper] HU, then standardise with mean and sd), ``"zscore"`` (the
            volume's own mean and sd), ``"zscore_nonzero"`` (those of its non-zero part), ``"rescale01"``
            (its own range to [0, 1]), ``"function"`` or ``"none"``.
        lower, upper, mean, sd: for ``"ct"``, in HU.
        function: for ``"function"``, from the resampled image (Z, Y, X) float32 to the network's input.
    """

    scheme: str
    lower: float = 0.0
    upper: float = 0.0
    mean: float = 0.0
    sd: float = 1.0
    function: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class Resampling:
    """How a grid is resampled, in nnU-Net's terms.

    Attributes:
        kind: ``"spline"`` (nnU-Net's default: scikit-image and scipy splines) or ``"torch"``
            (``resample_torch_fornnunet``: linear, nearest along a separate axis).
        order: spline order, 0 to 3.
        order_separate: spline order along an axis that is treated separately.
        separate: treat the axis of lowest resolution separately; None decides by anisotropy.
    """

    kind: str = "spline"
    order: int = 1
    order_separate: int = 0
    separate: bool | None = None


@dataclass(frozen=True)
class Plan:
    """Everything the engine needs to know about a network. Axes are those of its input, slowest first.

    Attributes:
        orientation: where I, J, K of the network's input point, e.g. ``"RAS"``; None takes the volume's
            own axes (an nnU-Net trained through a reader that does not reorient).
        transpose: order of (K, J, I) in which the network sees the oriented volume.
        spacing: mm, per axis.
        patch_size: voxels, per axis.
        normalization: of its single input channel.
        crop_to_nonzero: cut to the box of non-zero voxels first.
        image_resampling, logit_resampling: to ``spacing`` and back.
        labels: names of the structures by label value, background left out.
        regions: for networks with overlapping (sigmoid) outputs, the label value that each output channel
            writes, in writing order; None for exclusive (softmax) outputs, where channel = label value.
        mirror_axes: axes along which the training allows test-time mirroring.
    """

    orientation: str | None
    spacing: tuple[float, float, float]
    patch_size: tuple[int, int, int]
    normalization: Normalization
    labels: dict[int, str]
    transpose: tuple[int, int, int] = (0, 1, 2)
    crop_to_nonzero: bool = True
    image_resampling: Resampling = Resampling(order=3)
    logit_resampling: Resampling = Resampling(order=1)
    regions: tuple[int, ...] | None = None
    mirror_axes: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Outputs of the network."""
        return len(self.regions) if self.regions is not None else max(self.labels, default=0) + 1
