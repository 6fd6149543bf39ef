"""The classes that a plan of nnU-Net may name: an exact list, for a name from a file must not choose what is imported.

The values are what the plan means; the same class has several names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_UNETS = "dynamic_network_architectures.architectures.unet"
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"
_TORCH = {  # classes of torch.nn by the module that has them
    "conv": ("Conv2d", "Conv3d"),
    "instancenorm": ("InstanceNorm2d", "InstanceNorm3d"),
    "batchnorm": ("BatchNorm2d", "BatchNorm3d"),
    "dropout": ("Dropout2d", "Dropout3d"),
    "activation": ("ELU", "GELU", "LeakyReLU", "PReLU", "ReLU", "SiLU"),
}

EARLY_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")  # as plans before nnU-Net 2.4 name them
NETWORKS = {f"{_UNETS}.{name}": name for name in (*EARLY_NETWORKS, "ResidualUNet")}
OPERATIONS = {
    f"{prefix}.{name}": name
    for module, names in _TORCH.items()
    for name in names
    for prefix in ("torch.nn", f"torch.nn.modules.{module}")
} | {f"{_BLOCKS}.{name}": name for name in ("BasicBlockD", "BottleneckD")}


def refuse_others(
    options: Mapping[str, Any], where: str, heeded: Collection[str], neutral: Mapping[str, Any] | None = None
) -> None:
    """Refuse the options of a plan that would have to be ignored.

    Args:
        where: begins the message.
        heeded: options that may have any value.
        neutral: the only value of others.

    Raises:
        ValueError: there is another option, or one that has another value; the message names it.
    """
    for name, value in options.items():
        if neutral and name in neutral:
            if value != neutral[name]:
                raise ValueError(f"{where}{name} = {value} (supported: {neutral[name]})")
        elif name not in heeded:
            raise ValueError(f"{where}the option {name} = {value}")
