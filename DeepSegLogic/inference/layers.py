"""Layers as torch's CPU code runs them fastest."""

from __future__ import annotations

import torch
from torch import nn

_SLAB = 8192  # voxels whose mean and variance are found at once


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A 1×1×1 convolution as the matrix product that it is; several times faster where its result is large.

    Args:
        x: (…, inputs), on any device.
        weight, bias: of the convolution, (outputs, inputs, 1, 1, 1) and (outputs,).
    """
    spare = -len(weight) % 8  # such widths run at full speed
    padded = nn.functional.pad(weight.flatten(1), (0, 0, 0, spare)).to(x)
    bias = None if bias is None else nn.functional.pad(bias, (0, spare)).to(x)
    return nn.functional.linear(x, padded, bias)[..., : len(weight)]


class _Pointwise(nn.Conv3d):
    """See :func:`pointwise`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return pointwise(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class _Direct(nn.Conv3d):
    """A convolution by oneDNN whatever its size.

    For a batch of one, torch takes its plain code instead where channels times depth times height are few (20480), as
    in the first layer and the deep ones; that takes two to seven times as long. The first layer, which is cheap, takes
    the image as it is also where the others compute in half precision.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.dtype != torch.float32 or (torch.is_autocast_enabled("cpu") and self.in_channels > 1)
        if half or x.device.type != "cpu":
            return super().forward(x)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class _InstanceNorm(nn.InstanceNorm3d):
    """An instance norm that keeps the channels-last layout, and is exact in large windows.

    torch's own turns a channels-last window round and back; the equal GroupNorm(C, C) does not, but adds up a million
    squares one after the other (an error of 2e-3 in a window of 112³). Here mean and variance are found in slabs and
    joined (Chan, Golub & LeVeque, 1979).

    Attributes:
        overwrites_input: whether nobody else needs the input, so that the result may take its place.
    """

    overwrites_input = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        if len(x) > 1:
            return torch.cat([self(one) for one in x.split(1)])
        slabs = x.split(max(1, _SLAB // x[0, 0, 0].numel()), dim=2)
        stats = [torch.batch_norm_update_stats(slab, None, None, 0.0) for slab in slabs]
        means, variances = (torch.stack(s).float() for s in zip(*stats, strict=True))
        share = torch.tensor([[slab.shape[2] / x.shape[2]] for slab in slabs])
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean) ** 2)).sum(0)
        if not self.overwrites_input or x.dtype != torch.float32:
            return nn.functional.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)
        scale = (variance + self.eps).rsqrt() * (1.0 if self.weight is None else self.weight)
        shift = -mean * scale + (0.0 if self.bias is None else self.bias)
        return torch.addcmul(shift[:, None, None, None], x, scale[:, None, None, None], out=x)


def _is_pointwise(conv: nn.Conv3d) -> bool:
    return {*conv.kernel_size, *conv.stride, conv.groups} == {1} and conv.padding == (0, 0, 0)


def replace_slow_layers(module: nn.Module) -> None:
    """Put equal layers in the place of those that torch's CPU code runs slowly."""
    for name, child in module.named_children():
        if type(child) is nn.InstanceNorm3d and not child.track_running_stats:
            norm = _InstanceNorm(child.num_features, child.eps, affine=child.affine, device="meta")
            norm.weight, norm.bias = child.weight, child.bias
            norm.overwrites_input = getattr(child, "overwrites_input", False)
            setattr(module, name, norm)
        elif type(child) is nn.Conv3d and _is_pointwise(child):
            setattr(module, name, _as(_Pointwise, child))
        elif type(child) is nn.Conv3d and _is_plain(child):
            setattr(module, name, _as(_Direct, child))
        else:
            replace_slow_layers(child)


def _is_plain(conv: nn.Conv3d) -> bool:
    return torch.backends.mkldnn.is_available() and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _as(kind: type[nn.Conv3d], conv: nn.Conv3d) -> nn.Conv3d:
    """The same convolution, with the same weights, computed in another way."""
    settings = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.bias is not None)
    replaced = kind(conv.in_channels, conv.out_channels, *settings, device="meta")
    replaced.weight, replaced.bias = conv.weight, conv.bias
    return replaced
