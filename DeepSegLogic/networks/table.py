"""The networks that can be trained, by name, and how each is described so that it can be built again.

A description is plain JSON: of a U-Net the ``architecture`` entry of an nnU-Net plan, of any other ``{"name": class,
"arguments": {…}}``. Classes are MONAI's where MONAI has one. A name from a file is looked up in exact lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from ..util.errors import UsageError
from .names import NETWORKS
from .unet import build_unet

MONAI = (  # in monai.networks.nets; none has an argument that makes it download or read files
    "AttentionUnet",
    "BasicUNet",
    "BasicUNetPlusPlus",
    "DynUNet",
    "HighResNet",
    "MedNeXt",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "UNETR",
    "UNet",
    "VNet",
)
OWN: Mapping[str, str] = {
    "DeepLab": "deeplab",
    "FCN": "fcn",
    "HRNet": "hrnet",
    "LateFusion": "fusion",
    "VotingFusion": "fusion",
    "MambaUNet": "mamba",
    "MiddleFusion": "fusion",
    "SegNet": "segnet",
    "TransUNet": "transunet",
}
"""Modules of this room by the class in them."""


@dataclass(frozen=True)
class Sizes:
    """What the description of a network depends on.

    Attributes:
        classes: output channels.
        patch: voxels (Z, Y, X).
        strides, kernels: (Z, Y, X) per stage of a U-Net for that patch.
        width: channels at the finest stage.
        encoder, decoder: convolutions or blocks per stage of a U-Net.
        inputs: channels of the image.
    """

    classes: int
    patch: Sequence[int]
    strides: Sequence[Sequence[int]]
    kernels: Sequence[Sequence[int]]
    width: int
    features: Sequence[int]
    encoder: Sequence[int]
    decoder: Sequence[int]
    inputs: int = 1


@dataclass(frozen=True)
class Trainable:
    """A network that can be trained.

    Attributes:
        title: with its source.
        describe: its description for these sizes.
        multiple: that each edge of a patch must be of; 0 where the strides decide.
        any_size: whether it also runs on other patches than that of its description.
        cost: memory of training, relative to a plain U-Net of the same patch.
        needs: Python packages beside MONAI.
        rate: learning rate of AdamW; transformers diverge at that of convolutions.
    """

    title: str
    describe: Callable[[Sizes], dict[str, Any]]
    multiple: int = 0
    any_size: bool = True
    cost: float = 1.0
    needs: tuple[str, ...] = ()
    rate: float = 2e-3


def build_network(architecture: Mapping[str, Any], classes: int, inputs: int = 1) -> nn.Module:
    """Build the network of a description: (N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X).

    Args:
        classes, inputs: of a U-Net; other descriptions contain them.

    Raises:
        ValueError: an unknown name, or arguments that do not fit.
        TypeError: an unknown argument.
        ImportError: a package is missing.
    """
    if "network_class_name" in architecture:
        return build_unet(dict(architecture), inputs, classes)
    name, arguments = str(architecture.get("name")), architecture.get("arguments", {})
    if name in OWN:
        own: nn.Module = getattr(import_module(f"{__package__}.{OWN[name]}"), name)(**arguments)
        return own
    if name not in MONAI:
        raise ValueError(f"the architecture {name!r} (known: {', '.join((*MONAI, *OWN))})")
    from monai.networks import nets

    network: nn.Module = getattr(nets, name)(**arguments)
    return network


def strides_of(architecture: Mapping[str, Any]) -> list[list[int]] | None:
    """Strides (Z, Y, X) per stage of a U-Net, or of those that are fused; None for other networks."""
    member = architecture.get("arguments", {}).get("member", architecture)
    strides: list[list[int]] | None = member.get("arch_kwargs", {}).get("strides")
    return strides


def _unet(kind: str, blocks: str) -> Callable[[Sizes], dict[str, Any]]:
    def describe(sizes: Sizes) -> dict[str, Any]:
        return unet_architecture(
            kind,
            features_per_stage=list(sizes.features),
            kernel_sizes=[list(k) for k in sizes.kernels],
            strides=[list(s) for s in sizes.strides],
            n_conv_per_stage_decoder=list(sizes.decoder),
            **{blocks: list(sizes.encoder)},
        )

    return describe


def unet_architecture(kind: str, **sizes: Any) -> dict[str, Any]:
    """The ``architecture`` entry of an nnU-Net plan.

    Args:
        kind: ``"PlainConvUNet"`` or ``"ResidualEncoderUNet"``.
        sizes: ``arch_kwargs`` that say how large it is.
    """
    return {
        "network_class_name": next(path for path, name in NETWORKS.items() if name == kind),
        "arch_kwargs": {
            "n_stages": len(sizes["features_per_stage"]),
            **sizes,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _of_monai(name: str, **arguments: Callable[[Sizes], Any]) -> Callable[[Sizes], dict[str, Any]]:
    def describe(sizes: Sizes) -> dict[str, Any]:
        fixed = {"spatial_dims": 3, "in_channels": sizes.inputs, "out_channels": sizes.classes}
        return {"name": name, "arguments": fixed | {key: value(sizes) for key, value in arguments.items()}}

    return describe


def _own(name: str) -> Callable[[Sizes], dict[str, Any]]:
    def describe(sizes: Sizes) -> dict[str, Any]:
        return {
            "name": name,
            "arguments": {"classes": sizes.classes, "width": sizes.width, "inputs": sizes.inputs},
        }

    return describe


TRAINABLE: Mapping[str, Trainable] = {
    "unet": Trainable(
        "nnU-Net's plain U-Net (Isensee et al., Nature Methods 2021)", _unet("PlainConvUNet", "n_conv_per_stage")
    ),
    "resenc": Trainable(
        "nnU-Net's residual-encoder U-Net (Isensee et al., MICCAI 2024)",
        _unet("ResidualEncoderUNet", "n_blocks_per_stage"),
    ),
    "segresnet": Trainable(
        "SegResNet (Myronenko, BrainLes 2018)",
        _of_monai("SegResNet", init_filters=lambda s: s.width, blocks_down=lambda s: [1, 2, 2, 4]),
        multiple=8,
    ),
    "attention-unet": Trainable(
        "Attention U-Net (Oktay et al., MIDL 2018)",
        _of_monai(
            "AttentionUnet",
            channels=lambda s: [s.width * factor for factor in (1, 2, 4, 8, 16)],
            strides=lambda s: [2, 2, 2, 2],
        ),
        multiple=16,
        cost=1.3,
    ),
    "mednext": Trainable(
        "MedNeXt-S, kernel 3 (Roy et al., MICCAI 2023)",
        _of_monai("MedNeXt", init_filters=lambda s: s.width, kernel_size=lambda s: 3),
        multiple=16,
        cost=2.5,
    ),
    "unetr": Trainable(
        "UNETR (Hatamizadeh et al., WACV 2022)",
        _of_monai(
            "UNETR",
            img_size=lambda s: list(s.patch),
            feature_size=lambda s: max(8, s.width // 2),
            hidden_size=lambda s: 24 * s.width,
            mlp_dim=lambda s: 96 * s.width,
        ),
        multiple=16,
        any_size=False,
        needs=("einops",),
        rate=5e-4,
    ),
    "swin-unetr": Trainable(
        "Swin UNETR (Hatamizadeh et al., BrainLes 2021)",
        _of_monai("SwinUNETR", feature_size=lambda s: 12 * max(1, s.width // 16)),
        multiple=32,
        cost=2.0,
        needs=("einops",),
        rate=5e-4,
    ),
    "transunet": Trainable(
        "TransUNet (Chen et al., Medical Image Analysis 2024)", _own("TransUNet"), multiple=16, rate=5e-4
    ),
    "fcn": Trainable("FCN-8s (Long et al., CVPR 2015)", _own("FCN"), multiple=16),
    "segnet": Trainable("SegNet (Badrinarayanan et al., TPAMI 2017)", _own("SegNet"), multiple=16),
    "deeplab": Trainable("DeepLab v3+ (Chen et al., ECCV 2018)", _own("DeepLab"), multiple=8),
    "hrnet": Trainable("HRNet (Wang et al., TPAMI 2021)", _own("HRNet"), multiple=8),
    "mamba": Trainable(
        "U-Net with Mamba-2 blocks (Ma et al., 2024)", _own("MambaUNet"), multiple=16, cost=1.5, rate=1e-3
    ),
}
"""Their names."""


def trainable(name: str) -> Trainable:
    """The network of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in TRAINABLE:
        raise UsageError(
            f"There is no network {name!r}.", f"Choose one of {', '.join(TRAINABLE)}.", code="usage.network"
        )
    return TRAINABLE[name]
