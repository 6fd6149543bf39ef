"""nnU-Net's plain and residual-encoder 3D U-Nets, for inference.

Built here, because the package that nnU-Net takes them from drags timm and torchvision into Slicer.
Module names are chosen so that nnU-Net's ``network_weights`` load strictly; ``Testing/reference`` holds
the check that both give the same output.

Sources: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z (plain U-Net);
Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv:2404.09556 (residual encoder; its blocks follow
ResNet-D, He et al., CVPR 2019, arXiv:1812.01187).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

Size = Sequence[int]


class ConvBlock(nn.Module):
    """Convolution, norm and, unless it ends a residual branch, LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float, activate=True):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, [(k - 1) // 2 for k in kernel], bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, eps=eps, affine=True)
        self.norm.overwrites_input = True  # which only the engine's own kind makes use of
        self.nonlin = nn.LeakyReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x):
        return self.nonlin(self.norm(self.conv(x)))


class ConvStack(nn.Module):
    """Several :class:`ConvBlock`; the first one may be strided."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(inputs, outputs, kernel, stride, bias, eps),
            *(ConvBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps) for _ in range(count - 1)),
        )

    def forward(self, x):
        return self.convs(x)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut that pools and projects where the shape changes (ResNet-D)."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.conv1 = ConvBlock(inputs, outputs, kernel, stride, bias, eps)
        self.conv2 = ConvBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps, activate=False)
        self.nonlin = nn.LeakyReLU(inplace=True)
        shortcut = []
        if any(s != 1 for s in stride):
            shortcut.append(nn.AvgPool3d(tuple(stride), tuple(stride)))
        if inputs != outputs:
            shortcut.append(ConvBlock(inputs, outputs, (1, 1, 1), (1, 1, 1), False, eps, activate=False))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x):
        return self.nonlin(self.conv2(self.conv1(x)).add_(self.skip(x)))


class ResidualStack(nn.Module):
    """Several :class:`ResidualBlock`; the first one may be strided."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Size, stride: Size, bias: bool, eps: float):
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(inputs, outputs, kernel, stride, bias, eps),
            *(ResidualBlock(outputs, outputs, kernel, (1, 1, 1), bias, eps) for _ in range(count - 1)),
        )

    def forward(self, x):
        return self.blocks(x)


class Encoder(nn.Module):
    """Stages from fine to coarse; ``forward`` returns the output of each."""

    def __init__(self, residual: bool, inputs: int, features: Size, kernels, strides, counts: Size, bias, eps):
        super().__init__()
        if residual:
            self.stem = ConvStack(1, inputs, features[0], kernels[0], (1, 1, 1), bias, eps)
            inputs = features[0]
        stages = []
        for count, outputs, kernel, stride in zip(counts, features, kernels, strides, strict=True):
            if residual:
                stages.append(ResidualStack(count, inputs, outputs, kernel, stride, bias, eps))
            else:
                stages.append(nn.Sequential(ConvStack(count, inputs, outputs, kernel, stride, bias, eps)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.residual = residual

    def forward(self, x):
        if self.residual:
            x = self.stem(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """Transposed convolutions back to full resolution; gives the features from which the classes are told.

    The heads of the coarser levels exist because nnU-Net's weights carry them (deep supervision).
    """

    def __init__(self, classes: int, features: Size, kernels, strides, counts: Size, bias, eps):
        super().__init__()
        self.transpconvs, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for below, count in zip(range(len(features) - 1, 0, -1), counts, strict=True):
            width, stride = features[below - 1], tuple(strides[below])
            self.transpconvs.append(nn.ConvTranspose3d(features[below], width, stride, stride, bias=bias))
            self.stages.append(ConvStack(count, 2 * width, width, kernels[below - 1], (1, 1, 1), bias, eps))
            self.seg_layers.append(nn.Conv3d(width, classes, 1))

    def forward(self, skips):
        x = skips.pop()
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        return x


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

    def features(self, x):
        """What ``head`` makes logits of: (N, ``head.in_channels``, Z, Y, X)."""
        return self.decoder(self.encoder(x))

    def forward(self, x):
        return self.head(self.features(x))

    def load_nnunet_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Load nnU-Net's ``network_weights`` strictly.

        nnU-Net registers its modules under several names; only the first one is kept.

        Raises:
            RuntimeError: a weight is missing, unknown or of another shape.
        """
        own = {
            name.removeprefix("_orig_mod."): tensor
            for name, tensor in weights.items()
            if "decoder.encoder." not in name and ".all_modules." not in name
        }
        self.load_state_dict(own, strict=True)


def build_unet(architecture: dict, inputs: int, classes: int) -> UNet:
    """Build the network that the ``architecture`` entry of an nnU-Net plan describes.

    Raises:
        ValueError: a network or an option of it that is not supported here; the message names it.
    """
    name = architecture["network_class_name"].rsplit(".", 1)[-1]
    options = architecture["arch_kwargs"]
    counts = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}.get(name)
    if counts is None:
        raise ValueError(f"the network {name} (supported: PlainConvUNet, ResidualEncoderUNet)")
    expected = {"conv_op": "Conv3d", "norm_op": "InstanceNorm3d", "nonlin": "LeakyReLU"}
    for option, wanted in expected.items():
        if str(options[option]).rsplit(".", 1)[-1] != wanted:
            raise ValueError(f"{option} = {options[option]} (supported: {wanted})")
    if not (options.get("norm_op_kwargs") or {}).get("affine", True):
        raise ValueError("norm_op_kwargs: affine = false")
    stages = options["n_stages"]

    def per_stage(value, length=stages):
        return [value] * length if isinstance(value, int) else list(value)

    def sizes(value):
        return [tuple(per_stage(v, 3)) for v in per_stage(value)]

    return UNet(
        inputs,
        classes,
        features=per_stage(options["features_per_stage"]),
        kernels=sizes(options["kernel_sizes"]),
        strides=sizes(options["strides"]),
        encoder_counts=per_stage(options[counts]),
        decoder_counts=per_stage(options["n_conv_per_stage_decoder"], stages - 1),
        residual=name == "ResidualEncoderUNet",
        bias=options.get("conv_bias", False),
        eps=(options.get("norm_op_kwargs") or {}).get("eps", 1e-5),
    )
