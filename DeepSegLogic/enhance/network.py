"""The networks that clean planes of a CT, their files, and how a volume passes through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..data.types import ScalarArray
from ..models.weights import read_checkpoint
from ..networks.table import build_network
from ..util.atomic_write import atomic_path
from ..util.errors import ModelError
from ..util.progress import Cancel, Progress, check
from .packages import need_packages

FORMAT = "deepseg-enhance-1"
HU_SCALE, LOWEST_HU, HIGHEST_HU = 200.0, -1024.0, 1600.0
_WIDTHS, _INPUTS, _MULTIPLE = range(4, 65), (1, 3), 16


@dataclass
class Cleaner:
    """A trained network.

    Attributes:
        task: what it is for, one of :data:`~DeepSegLogic.enhance.tasks.TASKS`.
        network: (N, inputs, Y, X) in units of 200 HU to what must be added to the middle channel, (N, 1, Y, X).
        width: channels at the finest level.
        inputs: 1 for the plane alone, 3 with the planes before and after it.
        facts: about its training.
    """

    task: str
    network: nn.Module
    width: int
    inputs: int
    facts: dict[str, Any] = field(default_factory=dict)


def new_network(width: int, inputs: int) -> nn.Module:
    """An untrained one: MONAI's U-Net without normalisation, which would lose the HU. It begins by changing nothing."""
    need_packages()
    features = [width, width, 2 * width, 4 * width, 4 * width, width]
    arguments = {"spatial_dims": 2, "in_channels": inputs, "out_channels": 1, "features": features, "norm": None}
    network = build_network({"name": "BasicUNet", "arguments": arguments}, 1, inputs)
    last = cast(nn.Conv2d, network.final_conv)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(cast(torch.Tensor, last.bias))
    return network


def scaled(hu: torch.Tensor) -> torch.Tensor:
    """HU in the network's unit."""
    return hu.clamp(LOWEST_HU, HIGHEST_HU) / HU_SCALE


def save_cleaner(cleaner: Cleaner, path: Path) -> None:
    """Write a network to a file, in half precision.

    Raises:
        OutputError: it cannot be written.
    """
    weights = {name: tensor.detach().cpu().half() for name, tensor in cleaner.network.state_dict().items()}
    content = {
        "format": FORMAT,
        "task": cleaner.task,
        "width": cleaner.width,
        "inputs": cleaner.inputs,
        "weights": weights,
        "facts": cleaner.facts,
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_cleaner(path: Path, task: str) -> Cleaner:
    """Read a network from a file. Nothing in the file is run.

    Raises:
        ModelError: the file is missing, broken, contains code, or is for another task.
        ResourceError: MONAI is missing.
    """
    content = read_checkpoint(path)
    width, inputs, weights = (content.get(name, 0) for name in ("width", "inputs", "weights"))
    if content.get("format") != FORMAT or width not in _WIDTHS or inputs not in _INPUTS:
        raise ModelError(
            f"{path} is not a network that enhances images.", "Choose a file of `enhance-train`.", code="model.format"
        )
    if content.get("task") != task:
        raise ModelError(
            f"The network {path} is made for {content.get('task')}, not for {task}.",
            "Choose another file or another task.",
            code="model.task",
        )
    network = new_network(width, inputs)
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in cast(Mapping[str, Any], weights).items()})
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ModelError(f"The weights in {path} do not fit.", "Train it again.", code="model.corrupted") from error
    facts = content.get("facts")
    return Cleaner(task, network.eval(), width, inputs, facts if isinstance(facts, dict) else {})


def corrections(
    cleaner: Cleaner,
    array: ScalarArray,
    across: int,
    device: torch.device,
    progress: Progress,
    cancel: Cancel,
) -> ScalarArray:
    """What the network adds to a volume, in HU, plane by plane.

    Args:
        array: (K, J, I) HU.
        across: the axis across the planes.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.
    """
    planes = np.moveaxis(array, across, 0)
    found = np.empty(planes.shape, np.float32)
    network = cleaner.network.to(device)
    edge = [-n % _MULTIPLE for n in planes.shape[1:]]
    reach = cleaner.inputs // 2
    with torch.inference_mode():
        for n in range(len(planes)):
            check(cancel)
            near = np.clip(np.arange(n - reach, n + reach + 1), 0, len(planes) - 1)
            x = scaled(torch.from_numpy(np.ascontiguousarray(planes[near], np.float32)))[None]
            x = functional.pad(x.to(device), (0, edge[1], 0, edge[0]), mode="replicate")
            y = network(x)[0, 0, : planes.shape[1], : planes.shape[2]]
            found[n] = y.cpu().numpy() * HU_SCALE
            progress("enhance", (n + 1) / len(planes), f"plane {n + 1} of {len(planes)}")
    return np.ascontiguousarray(np.moveaxis(found, 0, across))
