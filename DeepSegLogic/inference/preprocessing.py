"""From a volume to the network's input: oriented, cropped, normalized and resampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.types import LabelArray, MaskArray, VolumeArray
from ..data.volume import Volume
from ..models.plan import Normalization, Plan
from .device import reproducible
from .grid_plan import GridPlan, Grids, network_view
from .previous_stage import one_hot
from .resampling import axis_matrices, resample_image, separate_axis

TensorFunction = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Prepared:
    """A network's input.

    Attributes:
        image: (C, Z, Y, X) float32, normalized, on the network's grid, on the device that runs it.
        grid: where it lies, and the way back.
    """

    image: torch.Tensor
    grid: GridPlan


@reproducible()
def prepare(
    volume: Volume,
    plan: Plan,
    device: torch.device,
    grids: Grids | None = None,
    channels: Sequence[VolumeArray] = (),
    previous: LabelArray | None = None,
) -> Prepared:
    """Orient, crop, normalize and resample as the plan says. Repeatable.

    Args:
        grids: of this volume; None for labels everywhere.
        channels: the further input channels, (K, J, I) on the volume's grid.
        previous: labels of the first stage of a cascade, the same.

    Raises:
        InputError: see :meth:`~.grid_plan.Grids.of`.
    """
    grid = (grids or Grids(volume, channels=channels)).of(plan)
    views = [network_view(array, volume.ijk_to_ras, plan)[0][grid.seen] for array in (volume.array, *channels)]
    rule = plan.image_resampling
    spacing = plan.spacing_on(grid.spacing)
    matrices = axis_matrices(rule, views[0].shape, grid.shape, grid.spacing, spacing)
    separate = separate_axis(rule, grid.spacing, spacing)
    inside = labels = None
    if previous is not None or any(n.scheme == "zscore_filled" for n in plan.normalizations):
        inside = _inside(views)
    if previous is not None and inside is not None:
        labels = network_view(previous, volume.ijk_to_ras, plan)[0][grid.seen]
        inside |= labels > 0  # nnU-Net counts what the first stage labelled as inside, too

    def resampled_channel(number: int) -> torch.Tensor:
        image = torch.from_numpy(np.ascontiguousarray(views[number])).to(device)
        image, normalize = _normalizer(image, plan.normalizations[number], inside)
        return resample_image(image, matrices, normalize, separate)

    resampled = resampled_channel(0)[None]
    if plan.images > 1:
        resampled = torch.cat([resampled, resampled.new_empty((plan.images - 1, *grid.shape))])
        for number in range(1, plan.images):  # in their place at once: all of them as well as their copy may not fit
            resampled[number] = resampled_channel(number)
    if plan.normalization.function is not None:
        resampled = plan.normalization.function(resampled)
    if labels is not None and inside is not None:
        resampled = torch.cat([resampled, one_hot(labels, inside, plan, grid).to(device)])
    return Prepared(resampled.contiguous(), grid)


def normalized(image: torch.Tensor, plan: Plan) -> torch.Tensor:
    """A resampled image (C, Z, Y, X) float32, normalized; the image itself stays as it is."""
    masked = any(n.scheme == "zscore_filled" for n in plan.normalizations)
    inside = _inside([channel.cpu().numpy() for channel in image]) if masked else None
    starts = [_normalizer(channel, rule, inside) for channel, rule in zip(image, plan.normalizations, strict=True)]
    result = torch.stack([normalize(start) for start, normalize in starts])
    return result if plan.normalization.function is None else plan.normalization.function(result)


def _inside(channels: Sequence[npt.NDArray[Any]]) -> MaskArray:
    """Where any channel (Z, Y, X) is not 0, without holes: nnU-Net's mask of what belongs to the patient."""
    from scipy.ndimage import binary_fill_holes

    inside: MaskArray = np.logical_or.reduce([channel != 0 for channel in channels])
    if all(inside.take(end, axis).all() for axis in range(3) for end in (0, -1)):
        return np.ones_like(inside)  # the usual CT: what is 0 is enclosed, and filling it takes long
    filled: MaskArray = binary_fill_holes(inside)
    return filled


def _normalizer(
    image: torch.Tensor, rule: Normalization, filled: MaskArray | None
) -> tuple[torch.Tensor, TensorFunction]:
    """An image and a monotone function that makes new, normalized voxels of parts of it.

    Args:
        filled: what counts as inside for ``"zscore_filled"``.

    Statistics of the whole image are computed here, once. Where zero is no intensity but the outside, the image is
    normalized here too, as that is no monotone function of its voxels.
    """
    if rule.scheme == "ct":
        return (
            image,
            lambda x: x.to(torch.float32).clamp(rule.lower, rule.upper).sub_(rule.mean).div_(max(rule.sd, 1e-8)),
        )
    if rule.scheme in ("none", "function"):  # a function is applied after resampling
        return image, _as_new_floats
    if rule.scheme == "rescale01":
        low = float(image.amin())
        width = max(float(image.amax()) - low, 1e-8)
        return image, lambda x: _as_new_floats(x).sub_(low).div_(width)
    if rule.scheme == "zscore":
        mean, sd = _mean_and_sd(image)
        return image, lambda x: _as_new_floats(x).sub_(mean).div_(sd)
    if rule.scheme in ("zscore_nonzero", "zscore_filled"):
        use = filled is not None and rule.scheme == "zscore_filled"
        inside = torch.from_numpy(filled).to(image.device) if use else image != 0
        mean, sd = _mean_and_sd(image[inside])
        return torch.where(inside, _as_new_floats(image).sub_(mean).div_(sd), 0.0), _as_new_floats
    raise ValueError(f"unknown normalization {rule.scheme!r}")


def _as_new_floats(x: torch.Tensor) -> torch.Tensor:
    """A copy, also of what is float32 already: the voxels may be the volume's own."""
    return x.to(torch.float32, copy=True)


def _mean_and_sd(values: torch.Tensor) -> tuple[float, float]:
    values = (values.cpu() if values.device.type == "mps" else values).to(torch.float64)  # Apple's GPU has none
    return float(values.mean()), max(float(values.std(correction=0)), 1e-8)
