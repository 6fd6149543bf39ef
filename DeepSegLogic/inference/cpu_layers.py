"""Equal layers that run faster on the CPU than torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_SLAB = 8192  # voxels whose mean and variance are found at once


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A 1×1×1 convolution as a matrix product; several times faster where its result is large.

    Args:
        x: (…, inputs), on any device.
        weight, bias: of the convolution, (outputs, inputs, 1, 1, 1) and (outputs,).
    """
    spare = -len(weight) % 8  # such widths run at full speed
    padded = nn.functional.pad(weight.flatten(1), (0, 0, 0, spare)).to(x)
    bias = None if bias is None else nn.functional.pad(bias, (0, spare)).to(x)
    return nn.functional.linear(x, padded, bias)[..., : len(weight)]


class _Pointwise(nn.Conv3d):
    """See :func:`pointwise`. The last layer is one: it computes in full precision even where the others use half, as
    rounded logits change labels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return pointwise(x.to(self.weight.dtype).movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class _Direct(nn.Conv3d):
    """A convolution by oneDNN whatever its size.

    For a batch of one, torch uses its plain code instead where channels × depth × height is below 20480, as in the
    first layer and the deep ones; that takes two to seven times as long. The first layer, which is cheap, computes in
    full precision even where the others use half.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.dtype != torch.float32 or (torch.is_autocast_enabled("cpu") and self.in_channels > 1)
        if half or x.device.type != "cpu":
            return super().forward(x)
        assert not isinstance(self.padding, str)  # see `_is_plain`
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class _InstanceNorm(nn.InstanceNorm3d):
    """An instance norm that keeps the channels-last layout, and is exact in large windows.

    torch's own converts a channels-last window to another layout and back; the equivalent GroupNorm(C, C) does not,
    but sums a million squares one after the other (an error of 2e-3 in a window of 112³). Here mean and variance are
    computed in slabs and joined (Chan, Golub & LeVeque, 1979).

    Attributes:
        overwrites_input: whether the result may overwrite the input, which nothing else needs.
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
    """Replace the layers of a network that torch's CPU code runs slowly by equal ones."""
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
    settings: dict[str, Any] = {n: getattr(conv, n) for n in ("kernel_size", "stride", "padding", "dilation", "groups")}
    settings |= {"bias": conv.bias is not None, "device": "meta"}
    replaced = kind(conv.in_channels, conv.out_channels, **settings)
    replaced.weight, replaced.bias = conv.weight, conv.bias
    return replaced
