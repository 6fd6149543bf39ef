"""Plan of a network: how its input is made and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    from ..data.types import LabelArray


_Number = TypeVar("_Number", int, float)


def triple(values: Iterable[_Number]) -> tuple[_Number, _Number, _Number]:
    """Three numbers, one per axis.

    Raises:
        ValueError: there are more or fewer.
    """
    found = tuple(values)
    if len(found) != 3:
        raise ValueError(f"{len(found)} numbers for three axes")
    return found


@dataclass(frozen=True)
class Normalization:
    """Intensity normalization of the input.

    Attributes:
        scheme: ``"ct"`` (clip to [lower, upper] HU, then standardize with mean and sd), ``"zscore"`` (with the
            volume's own mean and sd), ``"zscore_nonzero"`` (with those of its non-zero voxels; the others stay 0),
            ``"zscore_filled"`` (the same, but holes among the non-zero voxels count as inside, as in nnU-Net),
            ``"rescale01"`` (the volume's range to [0, 1]), ``"function"`` or ``"none"``.
        lower, upper, mean, sd: for ``"ct"``, in HU.
        function: for ``"function"``, from all resampled channels (C, Z, Y, X) float32 to the network's input.
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
        order: spline order, 0 to 5.
        order_separate: spline order along an axis that is treated separately.
        separate: treat the axis of lowest resolution separately; None decides by anisotropy.
    """

    kind: str = "spline"
    order: int = 1
    order_separate: int = 0
    separate: bool | None = None


@dataclass(frozen=True)
class Padding:
    """How an image that is smaller than a window is extended, in the words of torch and MONAI.

    Attributes:
        mode: ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        value: for ``"constant"``.
    """

    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Input and output of a network. Axes are those of its input, slowest first.

    Attributes:
        orientation: where I, J, K of the network's input point, e.g. ``"RAS"``; None keeps the volume's
            own axes (an nnU-Net trained through a reader that does not reorient).
        transpose: order of (K, J, I) in which the network sees the oriented volume.
        spacing: mm, per axis; 0 along the first for a 2D network, which sees the volume's own slices.
        patch_size: voxels, per axis.
        normalization: of the first input channel.
        further: the same for each further channel.
        previous_labels: for the second stage of a cascade, label values of the first: its labels follow the images as
            one channel of 0 and 1 for each, resampled as nnU-Net resamples label maps.
        label_resampling: of these labels to ``spacing``.
        crop_to_nonzero: crop to the box of non-zero voxels first.
        image_resampling, logit_resampling: to ``spacing`` and back.
        labels: names of the structures by label value, without background.
        regions: for networks with overlapping (sigmoid) outputs, the label value that each output channel
            writes, in writing order; None for exclusive (softmax) outputs, where channel = label value.
        mirror_axes: axes along which the training allows test-time mirroring.
        padding: of an image that is smaller than the patch.
        postprocess: from labels (Z, Y, X) to those that the publisher reports; None if they are the same.
        auxiliary: number of labels after ``labels`` that the network has, but that are not reported.
        temperature: divides the logits before they become probabilities; with ``regions`` also one for each channel.
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
    padding: Padding = Padding()
    postprocess: Callable[[LabelArray], LabelArray] | None = None
    auxiliary: int = 0
    further: tuple[Normalization, ...] = ()
    previous_labels: tuple[int, ...] = ()
    label_resampling: Resampling = Resampling(order=1)
    temperature: float | tuple[float, ...] = 1.0

    @property
    def normalizations(self) -> tuple[Normalization, ...]:
        """Of each image that the network sees."""
        return (self.normalization, *self.further)

    @property
    def images(self) -> int:
        """Number of images that the network sees together."""
        return len(self.normalizations)

    @property
    def inputs(self) -> int:
        """Number of input channels of the network."""
        return self.images + len(self.previous_labels)

    def spacing_on(self, own: tuple[float, float, float]) -> tuple[float, float, float]:
        """The network's spacing on a volume with the spacing ``own`` (Z, Y, X), in mm."""
        return self.spacing if self.spacing[0] > 0 else (own[0], *self.spacing[1:])

    @property
    def channels(self) -> int:
        """Number of output channels of the network."""
        return len(self.regions) if self.regions is not None else self.highest + 1

    @property
    def highest(self) -> int:
        """The largest label value that the network gives."""
        return max(self.labels, default=0) + self.auxiliary
