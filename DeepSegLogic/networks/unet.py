"""nnU-Net's plain and residual-encoder 3D U-Nets.

Built here, because the package that nnU-Net takes them from would bring timm and torchvision into Slicer.
Modules are named as in nnU-Net, so that its ``network_weights`` load strictly; ``Testing/reference`` checks that both
give the same output.

Sources: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z (plain U-Net);
Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv:2404.09556 (residual encoder; its blocks follow
ResNet-D, He et al., CVPR 2019, arXiv:1812.01187).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .names import NETWORKS, OPERATIONS, refuse_others

Size = Sequence[int]

_HEEDED = {
    *("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage_decoder", "conv_bias"),
    *("conv_op", "norm_op", "norm_op_kwargs", "nonlin", "nonlin_kwargs"),
    *("dropout_op", "dropout_op_kwargs", "deep_supervision"),  # of nnU-Net's own training
}
_NEUTRAL = {  # options of dynamic-network-architectures with the only value that these networks have
    "nonlin_first": False,
    "bottleneck_channels": None,
    "stem_channels": None,
    "squeeze_excitation": False,
}


def _triple(size: Size) -> tuple[int, int, int]:
    z, y, x = size
    return z, y, x


class ConvBlock(nn.Module):
    """Convolution, norm and, unless it ends a residual branch, LeakyReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float, activate: bool = True
    ):
        super().__init__()
        padding = _triple([(k - 1) // 2 for k in kernel])
        self.conv = nn.Conv3d(inputs, outputs, _triple(kernel), _triple(stride), padding, bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, eps=eps, affine=True)
        self.norm.overwrites_input = True  # type: ignore[assignment]  # for `cpu_layers`; torch's stub knows tensors only
        self.nonlin = nn.LeakyReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.nonlin(self.norm(self.conv(x)))
        return y


class ConvStack(nn.Module):
    """Several :class:`ConvBlock`; the first may be strided."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(inputs, outputs, kernel, stride, bias, eps),
            *(ConvBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps) for _ in range(count - 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.convs(x)
        return y


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut that pools and projects where the shape changes (ResNet-D)."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.conv1 = ConvBlock(inputs, outputs, kernel, stride, bias, eps)
        self.conv2 = ConvBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps, activate=False)
        self.nonlin = nn.LeakyReLU(inplace=True)
        shortcut: list[nn.Module] = []
        if any(s != 1 for s in stride):
            shortcut.append(nn.AvgPool3d(_triple(stride), _triple(stride)))
        if inputs != outputs:
            shortcut.append(ConvBlock(inputs, outputs, (1, 1, 1), (1, 1, 1), False, eps, activate=False))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.nonlin(self.conv2(self.conv1(x)).add_(self.skip(x)))
        return y


class ResidualStack(nn.Module):
    """Several :class:`ResidualBlock`; the first may be strided."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(inputs, outputs, kernel, stride, bias, eps),
            *(ResidualBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps) for _ in range(count - 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.blocks(x)
        return y


class Encoder(nn.Module):
    """Stages from fine to coarse; ``forward`` returns the output of each."""

    def __init__(
        self,
        residual: bool,
        inputs: int,
        features: Size,
        kernels: Sequence[Size],
        strides: Sequence[Size],
        counts: Size,
        bias: bool,
        eps: float,
    ):
        super().__init__()
        if residual:
            self.stem = ConvStack(1, inputs, features[0], kernels[0], (1, 1, 1), bias, eps)
            inputs = features[0]
        stages: list[nn.Module] = []
        for count, outputs, kernel, stride in zip(counts, features, kernels, strides, strict=True):
            if residual:
                stages.append(ResidualStack(count, inputs, outputs, kernel, stride, bias, eps))
            else:
                stages.append(nn.Sequential(ConvStack(count, inputs, outputs, kernel, stride, bias, eps)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        if self.residual:
            x = self.stem(x)
        outputs: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """Transposed convolutions back to full resolution; returns the features that the last layer turns into logits.

    The heads of the coarser levels exist because nnU-Net's weights contain them (deep supervision).
    """

    def __init__(
        self,
        classes: int,
        features: Size,
        kernels: Sequence[Size],
        strides: Sequence[Size],
        counts: Size,
        bias: bool,
        eps: float,
    ):
        super().__init__()
        self.transpconvs, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for below, count in zip(range(len(features) - 1, 0, -1), counts, strict=True):
            width, stride = features[below - 1], _triple(strides[below])
            self.transpconvs.append(nn.ConvTranspose3d(features[below], width, stride, stride, bias=bias))
            self.stages.append(ConvStack(count, 2 * width, width, kernels[below - 1], (1, 1, 1), bias, eps))
            self.seg_layers.append(nn.Conv3d(width, classes, 1))

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        x = skips.pop()
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        return x

    def levels(self, skips: list[torch.Tensor]) -> list[torch.Tensor]:
        """Logits of each level, fine to coarse."""
        x, found = skips.pop(), list[torch.Tensor]()
        for up, stage, head in zip(self.transpconvs, self.stages, self.seg_layers, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
            found.append(head(x))
        return found[::-1]


class UNet(nn.Module):
    """nnU-Net's 3D U-Net: (N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X).

    Args:
        inputs: image channels.
        classes: output channels.
        features: channels of each encoder stage, fine to coarse.
        kernels, strides: (Z, Y, X) per stage.
        encoder_counts: convolutions (plain) or residual blocks per encoder stage.
        decoder_counts: convolutions per decoder stage, coarse to fine.
        residual: residual encoder instead of the plain one.
        bias: whether convolutions have one.
        eps: of the instance norms.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        features: Size,
        kernels: Sequence[Size],
        strides: Sequence[Size],
        encoder_counts: Size,
        decoder_counts: Size,
        residual: bool = False,
        bias: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.encoder = Encoder(residual, inputs, features, kernels, strides, encoder_counts, bias, eps)
        self.decoder = Decoder(classes, features, kernels, strides, decoder_counts, bias, eps)
        self.classes = classes

    @property
    def head(self) -> nn.Module:
        """The last layer, 1×1×1, from features to logits."""
        return self.decoder.seg_layers[-1]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The input of ``head``: (N, ``head.in_channels``, Z, Y, X)."""
        y: torch.Tensor = self.decoder(self.encoder(x))
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.features(x))
        return y

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Logits of each level of the decoder, fine to coarse, for deep supervision."""
        return self.decoder.levels(self.encoder(x))

    def load_nnunet_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Load nnU-Net's ``network_weights`` strictly.

        nnU-Net registers its modules under several names; only the first is kept. Kernels of a 2D network get a depth
        of one voxel.

        Raises:
            RuntimeError: a weight is missing, unknown or has another shape.
        """
        own = {
            name.removeprefix("_orig_mod."): tensor.unsqueeze(2) if tensor.ndim == 4 else tensor
            for name, tensor in weights.items()
            if "decoder.encoder." not in name and ".all_modules." not in name
        }
        self.load_state_dict(own, strict=True)


def build_unet(architecture: dict[str, Any], inputs: int, classes: int) -> UNet:
    """Build the network that the ``architecture`` entry of an nnU-Net plan describes.

    A 2D network becomes a 3D one that is one voxel deep, and so computes the same for windows of one slice.

    Raises:
        ValueError: the network or one of its options is not supported; the message names it.
    """
    name = NETWORKS.get(architecture["network_class_name"])
    options = architecture["arch_kwargs"]
    counts = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}.get(name or "")
    if counts is None:
        asked = architecture["network_class_name"]
        raise ValueError(f"the network {asked} (supported: PlainConvUNet, ResidualEncoderUNet)")
    dimensions = 2 if OPERATIONS.get(options["conv_op"]) == "Conv2d" else 3
    expected = {"conv_op": f"Conv{dimensions}d", "norm_op": f"InstanceNorm{dimensions}d", "nonlin": "LeakyReLU"}
    for option, wanted in expected.items():
        if OPERATIONS.get(options[option]) != wanted:
            raise ValueError(f"{option} = {options[option]} (supported: {wanted})")
    block = options.get("block")
    if block is not None and OPERATIONS.get(block) != "BasicBlockD":
        raise ValueError(f"block = {block} (supported: BasicBlockD)")
    refuse_others(options, "", {*_HEEDED, counts, "block"}, _NEUTRAL)
    of_norm = options.get("norm_op_kwargs") or {}
    refuse_others(of_norm, "norm_op_kwargs: ", {"eps", "momentum"}, {"affine": True, "track_running_stats": False})
    refuse_others(options.get("nonlin_kwargs") or {}, "nonlin_kwargs: ", {"inplace"}, {"negative_slope": 0.01})
    stages = options["n_stages"]

    def per_stage(value: Any, length: int = stages) -> list[Any]:
        return [value] * length if isinstance(value, int) else list(value)

    def sizes(value: Any) -> list[Size]:
        return [(*[1] * (3 - dimensions), *per_stage(v, dimensions)) for v in per_stage(value)]

    strides = sizes(options["strides"])
    if tuple(strides[0]) != (1, 1, 1):
        raise ValueError(f"strides that begin with {strides[0]} (supported: 1 along all axes)")
    eps = of_norm.get("eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise ValueError(f"norm_op_kwargs: eps = {eps}")
    return UNet(
        inputs,
        classes,
        features=per_stage(options["features_per_stage"]),
        kernels=sizes(options["kernel_sizes"]),
        strides=strides,
        encoder_counts=per_stage(options[counts]),
        decoder_counts=per_stage(options["n_conv_per_stage_decoder"], stages - 1),
        residual=name == "ResidualEncoderUNet",
        bias=options.get("conv_bias", False),
        eps=eps,
    )
