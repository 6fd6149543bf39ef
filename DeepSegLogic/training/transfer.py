"""A training that begins with a model: its layers are taken, its head is grown, and what it knows is kept.

What a case does not label, the model itself labels softly while the new one learns, see :mod:`.distillation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..models.backends.nnunet import architecture_in
from ..models.card import ModelCard
from ..models.model import Model, load_model
from ..models.plan import Plan
from ..networks.table import TRAINABLE, build_network
from ..util.words import counted
from .beginnings import cannot_begin, check_trainable, regions_in
from .checks import Report, joined_regions
from .distillation import ClassDistillation, Distillation, RegionDistillation
from .planning import TrainingPlan
from .regions import Regions

OLD_LAYERS = 0.1
"""The default of :attr:`Origin.old_layers`."""
_RARE = 0.01  # probability that a new output of a sigmoid begins with


@dataclass(frozen=True)
class Origin:
    """The model that a training begins with.

    Attributes:
        card: of the model.
        network: with its weights; the first one of an ensemble.
        plan: by which its successor is trained.
        channels: its output channels by structure.
        exclusive: whether its outputs share a softmax with the background as channel 0; else each has a sigmoid of its
            own.
        old_layers: learning rate of layers that are taken, relative to that of the head.
    """

    card: ModelCard
    network: nn.Module
    plan: TrainingPlan
    channels: Mapping[str, int]
    exclusive: bool
    old_layers: float = OLD_LAYERS

    def distillation(self, looked_for: Sequence[Sequence[int]], device: torch.device) -> Distillation:
        """The loss that keeps what the model knows, see :attr:`~.loop.Training.also`.

        Args:
            looked_for: per case, the structures of the plan that were looked for, from 1.
        """
        if self.plan.regions is None:
            return ClassDistillation(self.network, 1 + len(self.channels), looked_for, device)
        going_on = {self.plan.structures.index(name) + 1: channel for name, channel in self.channels.items()}
        return RegionDistillation(self.network, going_on, self.exclusive, looked_for, device)


def begin_with(card: ModelCard, report: Report, batch: int = 2) -> Origin:
    """Load a model, and plan a training for its structures and those of a data set; patch and spacing are the model's.

    If structures of either overlap, all become regions.

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
    _check_images(card, plan, report)
    regions = regions_in(card) if plan.regions is not None else None
    if regions is not None and len(regions.values) != plan.channels:
        raise cannot_begin(card, "its files do not name all structures that overlap")
    old = list(plan.labels.values() if regions is None else regions.values)
    structures = (*old, *(name for name in report.structures if name not in old))
    if regions is not None or report.regions is not None:
        given = regions or Regions({name: (value,) for value, name in plan.labels.items()}, tuple(plan.labels))
        regions = joined_regions(report.usable, frozenset(structures), given)
        structures = tuple(regions.values)
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
            architecture=_with_classes(architecture, len(structures) + (regions is None)),
            shape=plan.patch_size,
            separate_z=plan.image_resampling.separate,
            channels=report.channels,
            further=plan.further,
            regions=regions,
        ),
        {name: n for n, name in enumerate(old, plan.regions is None)},
        plan.regions is None,
    )


def _check_images(card: ModelCard, plan: Plan, report: Report) -> None:
    """Refuse a model whose images are others than those of a data set, or are made in a way that no training has."""
    for wrong, what in (
        (card.modality not in (None, report.modality), f"it was trained on {card.modality}, unlike these images"),
        (plan.images != max(1, len(report.channels)), f"it takes {counted(plan.images, 'image')}, unlike these cases"),
        (plan.orientation != "RAS" or plan.transpose != (0, 1, 2), "its images are not in RAS orientation"),
        *(
            (rule.scheme not in ("ct", "zscore"), f"it scales intensities by {rule.scheme}")
            for rule in plan.normalizations
        ),
        (plan.spacing[0] <= 0, "it works slice by slice"),
        (
            plan.auxiliary > 0 or (plan.regions is None and list(plan.labels) != list(range(1, len(plan.labels) + 1))),
            "labels of it have no name",
        ),
        (card.backend == "nnunet" and plan.image_resampling.kind != "spline", "it resamples images in another way"),
    ):
        if wrong:
            raise cannot_begin(card, what)


def grown(origin: Origin) -> tuple[nn.Module, dict[str, float]]:
    """The network of the plan with the model's weights, and the factors of the learning rate by parameter.

    With a softmax, new structures begin with an equal share of the background's probability, so that those of the old
    ones are as they were. With overlapping outputs they begin as those of a new network (He's weights), but rare, as
    RetinaNet's do (Lin et al., ICCV 2017, section 4.1): weights of 0 would give the layers before them nothing to learn
    from, and outputs that begin at one half are first pushed below 0 everywhere, or written over the old ones. An
    output that follows one of a softmax begins with the logit of its structure against the background.
    """
    plan, outputs = origin.plan, origin.plan.outputs
    network = build_network(plan.architecture, outputs, plan.inputs)
    axes = _head(plan)
    weights, old = network.state_dict(), origin.network.state_dict()
    slower: dict[str, float] = {}
    for name, tensor in weights.items():
        before, axis = old[name], axes.get(name)
        if axis is None:
            tensor.copy_(before)
        else:
            rows = before.movedim(axis, 0)
            grow = _shared if plan.regions is None else _apart
            tensor.copy_(grow(rows, origin).movedim(0, axis))
        if axis is None or (plan.regions is None and before.shape == tensor.shape):
            slower[name] = origin.old_layers
    network.load_state_dict(weights)
    return network, slower


def _shared(rows: torch.Tensor, origin: Origin) -> torch.Tensor:
    """Rows (classes, …) of a head with a softmax, grown for the structures that are new."""
    known = len(rows)
    shares = origin.plan.outputs - known + 1
    grown = torch.cat([rows, rows[:1].expand(shares - 1, *rows.shape[1:])])
    if rows.ndim == 1:
        grown[[0, *range(known, len(grown))]] -= math.log(shares)
    return grown


def _apart(rows: torch.Tensor, origin: Origin) -> torch.Tensor:
    """Rows (structures, …) of a head with a sigmoid for each structure of the plan."""
    grown = rows.new_full((origin.plan.outputs, *rows.shape[1:]), math.log(_RARE / (1 - _RARE)))
    if rows.ndim > 1:
        nn.init.kaiming_normal_(grown, a=0.01)
    for n, name in enumerate(origin.plan.structures):
        if name in origin.channels:
            grown[n] = rows[origin.channels[name]] - (rows[0] if origin.exclusive else 0)
    return grown


def _head(plan: TrainingPlan) -> dict[str, int]:
    """The parameters whose size is the number of outputs, and along which axis."""
    own, larger = (
        build_network(_with_classes(plan.architecture, outputs), outputs, plan.inputs).state_dict()
        for outputs in (plan.outputs, plan.outputs + 1)
    )
    sizes = {name: (tensor.shape, larger[name].shape) for name, tensor in own.items()}
    return {
        name: next(axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b)
        for name, shapes in sizes.items()
        if shapes[0] != shapes[1]
    }


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
