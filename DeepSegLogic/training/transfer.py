"""A training that begins with a model: its layers are taken, its head is grown, and what it knows is kept.

What a case does not label, the model itself labels softly while the new one learns (distillation with the background
of each case: Cermelli et al., Modeling the background, CVPR 2020, arXiv:2002.00718; so are the new rows of the head).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..models.backends.nnunet import architecture_in
from ..models.card import ModelCard
from ..models.model import Model, load_model
from ..networks.table import TRAINABLE, build_network
from .beginnings import cannot_begin, check_trainable
from .checks import Report
from .losses import IGNORED, narrowed
from .planning import TrainingPlan

OLD_LAYERS = 0.1
"""The default of :attr:`Origin.old_layers`."""


@dataclass(frozen=True)
class Origin:
    """The model that a training begins with.

    Attributes:
        card: of the model.
        network: with its weights; the first one of an ensemble.
        plan: by which its successor is trained.
        classes: number of its output channels.
        old_layers: learning rate of layers that are taken, relative to that of the head.
    """

    card: ModelCard
    network: nn.Module
    plan: TrainingPlan
    classes: int
    old_layers: float = OLD_LAYERS


def begin_with(card: ModelCard, report: Report, batch: int = 2) -> Origin:
    """Load a model, and plan a training for its structures and those of a data set; patch and spacing are the model's.

    Args:
        report: of the data set.
        batch: patches per step.

    Raises:
        ModelError: the model cannot be loaded or trained.
    """
    check_trainable(card)
    model = load_model(card)
    plan = model.plan
    if plan is None or not model.networks:
        raise cannot_begin(card, "it has several parts", "Give the folder of one part.")
    own = plan.image_resampling
    for wrong, what in (
        (card.modality not in (None, report.modality), f"it was trained on {card.modality}, unlike these images"),
        (plan.regions is not None, "its structures overlap"),
        (report.regions is not None, "the structures of these cases overlap"),
        (plan.images != max(1, len(report.channels)), f"it takes {plan.images} images, unlike these cases"),
        (plan.orientation != "RAS" or plan.transpose != (0, 1, 2), "its images are not in RAS orientation"),
        *(
            (rule.scheme not in ("ct", "zscore"), f"it scales intensities by {rule.scheme}")
            for rule in plan.normalizations
        ),
        (plan.spacing[0] <= 0, "it works slice by slice"),
        (plan.auxiliary > 0 or list(plan.labels) != list(range(1, len(plan.labels) + 1)), "labels of it have no name"),
        (card.backend == "nnunet" and own.kind != "spline", "it resamples images in another way"),
    ):
        if wrong:
            raise cannot_begin(card, what)
    old = list(plan.labels.values())
    structures = (*old, *(name for name in report.structures if name not in old))
    architecture = _architecture(model)
    return Origin(
        card,
        model.networks[0],
        TrainingPlan(
            network=_name(architecture, card),
            structures=structures,
            modality=card.modality,
            spacing=plan.spacing,
            patch=plan.patch_size,
            batch=batch,
            normalization=plan.normalization,
            architecture=_with_classes(architecture, len(structures) + 1),
            shape=plan.patch_size,
            separate_z=own.separate,
            channels=report.channels,
            further=plan.further,
        ),
        len(old) + 1,
    )


def grown(origin: Origin) -> tuple[nn.Module, dict[str, float]]:
    """The network of the plan with the model's weights, and the factors of the learning rate by parameter.

    New structures begin with an equal share of the background's probability, so that those of the old ones are as they
    were.
    """
    classes = origin.plan.outputs
    network = build_network(origin.plan.architecture, classes, origin.plan.inputs)
    weights, old = network.state_dict(), origin.network.state_dict()
    shares = classes - origin.classes + 1
    slower: dict[str, float] = {}
    for name, tensor in weights.items():
        before = old[name]
        if before.shape == tensor.shape:
            tensor.copy_(before)
            slower[name] = origin.old_layers
            continue
        rows = torch.cat([before, before[:1].expand(shares - 1, *before.shape[1:])])
        if rows.ndim == 1:
            rows[[0, *range(origin.classes, classes)]] -= math.log(shares)
        tensor.copy_(rows)
    network.load_state_dict(weights)
    return network, slower


class Distillation:
    """The loss that keeps what a model knows, see :attr:`~.loop.Training.also`.

    In each case, the old network says softly where the structures are that were not looked for there.

    Args:
        teacher: the old network; it is not changed.
        classes: number of its output channels.
        looked_for: per case, the classes that were looked for.
        device: that computes.
    """

    def __init__(self, teacher: nn.Module, classes: int, looked_for: Sequence[Sequence[int]], device: torch.device):
        self._teacher = teacher.to(device).eval().requires_grad_(False)
        self._asked = [tuple(c for c in range(1, classes) if c not in known) for known in looked_for]
        self._device = device

    def __call__(
        self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]
    ) -> torch.Tensor:
        """The mean divergence of the new network from the old one, over the voxels that have no label."""
        total = logits.new_zeros((), dtype=torch.float32)
        if not any(self._asked[case] for case in cases):
            return total
        with torch.no_grad(), torch.autocast(self._device.type, enabled=self._device.type == "cuda"):
            old = self._teacher(images).float()
        unlabelled = torch.where(labels == 0, 0, IGNORED)
        for n, case in enumerate(cases):
            if asked := self._asked[case]:
                own, _ = narrowed(logits[n : n + 1].float(), unlabelled[n : n + 1], asked)
                theirs, _ = narrowed(old[n : n + 1], unlabelled[n : n + 1], asked)
                kept = functional.kl_div(own.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="none")
                total = total + kept.sum(1).mean()
        return total / len(cases)


def _architecture(model: Model) -> dict[str, Any]:
    card = model.card
    if card.backend == "nnunet":
        return architecture_in(card.installed_folder)
    return dict(card.network["architecture"])


def _with_classes(architecture: dict[str, Any], classes: int) -> dict[str, Any]:
    if "network_class_name" in architecture:
        return architecture
    arguments = architecture["arguments"]
    key = "out_channels" if "out_channels" in arguments else "classes"
    return {**architecture, "arguments": {**arguments, key: classes}}


def _name(architecture: dict[str, Any], card: ModelCard) -> str:
    """The name in the table of trainable networks."""
    if "network_class_name" in architecture:
        return "resenc" if "Residual" in architecture["network_class_name"] else "unet"
    kind = str(architecture["name"]).lower()
    for name in TRAINABLE:
        if name.replace("-", "") in (kind, kind.removesuffix("unet")):
            return name
    raise cannot_begin(card, f"its network {architecture['name']} is not one of {', '.join(TRAINABLE)}", "")
