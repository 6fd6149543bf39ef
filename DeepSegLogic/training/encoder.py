"""A pre-trained encoder on disk: its weights, and the plan of its pre-training, which a later training takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..models.files import read_json
from ..models.weights import read_checkpoint
from ..networks.table import build_network
from ..util.atomic_write import atomic_folder
from ..util.digests import file_digest
from ..util.errors import ModelError
from .checks import Report
from .plan_file import described, plan_from_json
from .planning import TrainingPlan

PLAN, WEIGHTS = "pretrained.json", "encoder.pth"
_PREFIX = "encoder."


@dataclass(frozen=True)
class Encoder:
    """The encoder of a U-Net.

    Attributes:
        plan: of the training that begins with it.
        weights: by name of parameter in the whole network.
        digest: of the file of the weights.
    """

    plan: TrainingPlan
    weights: Mapping[str, torch.Tensor]
    digest: str

    def put_into(self, network: nn.Module) -> None:
        """Replace the encoder's weights of a network of the plan."""
        network.load_state_dict({**network.state_dict(), **self.weights})


def write_encoder(folder: Path, weights: Mapping[str, torch.Tensor], plan: TrainingPlan) -> None:
    """Write the encoder of a network, whole or not at all.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    with atomic_folder(folder, last=PLAN) as temporary:
        own = {name: tensor for name, tensor in weights.items() if name.startswith(_PREFIX)}
        torch.save(own, temporary / WEIGHTS)
        (temporary / PLAN).write_text(described(plan), "utf-8")


def is_encoder(folder: Path) -> bool:
    """Whether a folder has a pre-trained encoder."""
    return (folder / PLAN).is_file()


def read_encoder(folder: Path, report: Report, batch: int | None = None) -> Encoder:
    """Read an encoder, with a plan for a data set: network, spacing, patch and normalization are the encoder's.

    Args:
        report: of the data set.
        batch: patches per step; None for that of the pre-training.

    Raises:
        ModelError: the folder is damaged, contains code, or does not fit the images.
    """
    weights = read_checkpoint(folder / WEIGHTS)
    try:
        plan = plan_from_json(read_json(folder / PLAN))
        plan = replace(
            plan,
            structures=tuple(report.structures),
            regions=report.regions,
            channels=(),
            further=(),
            batch=batch or plan.batch,
        )
        expected = build_network(plan.architecture, plan.outputs).state_dict()
        shapes = {name: tensor.shape for name, tensor in expected.items() if name.startswith(_PREFIX)}
        if not plan.is_unet or {name: tensor.shape for name, tensor in weights.items()} != shapes:
            raise ValueError("its weights are not those of its network")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The pre-trained encoder in {folder} cannot be used: {error}.", "Pre-train again.", code="model.corrupted"
        ) from error
    if plan.modality != report.modality or report.channels:
        kind = plan.modality or "images of an unknown kind"
        raise ModelError(
            f"The encoder in {folder} was pre-trained on {kind}, unlike these cases.",
            "Pre-train on images of the same kind, or begin without it.",
            code="model.unsupported",
        )
    return Encoder(plan, weights, file_digest(folder / WEIGHTS))
