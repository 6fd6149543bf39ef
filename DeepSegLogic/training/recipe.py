"""What a training is made of, and one run of it: on some cases, measured on others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.provenance import digest_of, learnt_from
from ..networks import unet
from ..networks.table import build_network, strides_of, trainable
from ..util.progress import Cancel, Progress
from ..util.version import __version__
from .checks import Report
from .distillation import Distillation
from .encoder import Encoder
from .loop import Training
from .losses import CaseLoss, Loss, RegionLoss
from .optimization import Options, Outcome, Size
from .parallel import ALONE, Ranks
from .patches import Patches
from .planning import TrainingPlan
from .prepared import PreparedCase
from .transfer import Origin, grown
from .validation import PatchDice

_SMALLEST_PATCH = 16


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how.

    Attributes:
        report: of :func:`~.checks.check_cases`.
        plan: of :func:`~.planning.plan_training`, or of ``origin``.
        options: its ``batch`` is that of the plan.
        origin: the model to begin with.
        encoder: the pre-trained encoder to begin with, instead of a model.
        rights: ``licence`` and ``citation`` of the model, for its card.
        keep_old: let it label what the cases do not, so that what it knew is kept.
        loss: one of :data:`~.losses.LOSSES`.
        weights: how much a structure counts in the loss, by name; 1 for those without.
        device: that computes.
    """

    report: Report
    plan: TrainingPlan
    options: Options
    origin: Origin | None = None
    keep_old: bool = True
    loss: str = "dice-ce"
    weights: Mapping[str, float] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    encoder: Encoder | None = None
    rights: Mapping[str, str] = field(default_factory=dict)

    def began_with(self) -> dict[str, Any] | None:
        """What the provenance says of the model or encoder to begin with."""
        if self.encoder is not None:
            return {"encoder": self.encoder.digest}
        if self.origin is None:
            return None
        card = self.origin.card
        return {"id": card.id, "version": card.version, "digest": digest_of(card)}

    def loss_for(self, known: Sequence[Sequence[int]]) -> Loss:
        """The loss for cases in which these classes were looked for.

        Raises:
            UsageError: the loss has no weights.
        """
        weights = [self.weights.get(name, 1.0) for name in self.plan.structures] if self.weights else []
        if self.plan.regions is not None:
            return RegionLoss(self.loss, known, self.plan.regions.table(), weights)
        return CaseLoss(self.loss, known, weights)

    def network(self, known: Sequence[Sequence[int]]) -> tuple[nn.Module, dict[str, float], Distillation | None]:
        """The network, factors of the learning rate by parameter, and the loss that keeps what it knew."""
        if self.origin is None:
            network = build_network(self.plan.architecture, self.plan.outputs, self.plan.inputs)
            initialize(network)
            if self.encoder is not None:
                self.encoder.put_into(network)
            return network, {}, None
        network, slower = grown(self.origin)
        return network, slower, self.origin.distillation(known, self.device) if self.keep_old else None

    def kind(self, apart: Sequence[str]) -> str:
        """What must be the same for a checkpoint to be continued.

        Args:
            apart: names of the cases that are held out.
        """
        cases = [[one.digest, one.labels_digest, *sorted(one.looked_for or ())] for one in self.report.cases]
        facts = {
            "cases": sorted(cases),
            "apart": sorted(apart),
            "plan": asdict(self.plan),
            "loss": self.loss,
            "weights": dict(self.weights),
            "began": self.began_with(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def provenance(self, outcome: Outcome) -> dict[str, Any]:
        """Facts for the card of the model."""
        return {
            **made(self.plan, self.loss),
            "steps": outcome.step,
            "batch": outcome.batch,
            "optimizer": self.options.optimizer,
            "learning_rate": self.options.rate,
            **({"weights": dict(self.weights)} if self.weights else {}),
            "dice_on_held_out_patches": outcome.dice,
            "images": sorted(facts.digest for facts in self.report.cases),
            "warnings": outcome.warnings,
            "began_with": self.began_with(),
        }


def made(plan: TrainingPlan, loss: str) -> dict[str, str]:
    """What the card of every trained model says."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "trained_with": f"DeepSeg {__version__}",
        "network": plan.network,
        "loss": loss,
    }


def train_network(
    recipe: Recipe,
    cases: Sequence[PreparedCase],
    apart: Sequence[PreparedCase],
    work: Path,
    progress: Progress,
    cancel: Cancel,
    ranks: Ranks = ALONE,
    best: bool = True,
) -> Outcome:
    """Train on some cases, and measure on patches of others.

    Args:
        work: folder of the checkpoint and the curves.
        ranks: the processes that train together.
        best: see :class:`~.loop.Training`.
    """
    plan, options = recipe.plan, replace(recipe.options, batch=recipe.plan.batch)
    known = [case.looked_for for case in cases]

    def samples(patch: Size) -> Patches:
        return Patches(cases, patch, plan.spacing, options.seed, not plan.sided)

    torch.manual_seed(options.seed)
    network, slower, also = recipe.network(known)
    training = Training(
        network,
        samples,
        recipe.loss_for(known),
        work,
        plan.patch,
        kind=recipe.kind([case.name for case in apart]),
        options=options,
        device=recipe.device,
        validate=PatchDice(apart, plan, recipe.device) if apart else None,
        best=best,
        also=also,
        smaller=smaller_patch(plan),
        slower=slower,
        ranks=ranks,
    )
    outcome = training.run(progress, cancel)
    outcome.warnings += _seen_before(recipe, apart)
    return outcome


def _seen_before(recipe: Recipe, apart: Sequence[PreparedCase]) -> list[str]:
    """A sentence if the model to begin with has learnt from cases that are held out."""
    if recipe.origin is None:
        return []
    card, digests = recipe.origin.card, {facts.files.name: facts.digest for facts in recipe.report.cases}
    count = sum(learnt_from(card, digests[case.name]) for case in apart)
    told = f"The model {card.id} was trained on {count} of {len(apart)} held-out cases: their Dice is too high."
    return [told] if count else []


def final_plan(plan: TrainingPlan, outcome: Outcome) -> TrainingPlan:
    """A plan with the patch and batch that a training ended with."""
    z, y, x = outcome.patch
    return replace(plan, patch=(z, y, x), batch=outcome.batch)


def initialize(network: nn.Module) -> None:
    """nnU-Net's first weights of its U-Nets: He's, and residual branches that begin at nothing. Others keep theirs."""
    parts = [part for part in network.modules() if isinstance(part, unet.Encoder | unet.Decoder)]
    for name, module in (named for part in parts for named in part.named_modules()):
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif name.endswith("conv2.norm"):
            nn.init.zeros_(module.get_parameter("weight"))


def smaller_patch(plan: TrainingPlan) -> Callable[[Size], Size | None]:
    """The rule by which a patch is made smaller after a lack of memory."""
    chosen = trainable(plan.network)
    strides = strides_of(plan.architecture)
    multiple = [chosen.multiple] * 3 if strides is None else [math.prod(s[axis] for s in strides) for axis in range(3)]

    def smaller(patch: Size) -> Size | None:
        edges = list(zip(patch, multiple, strict=True))
        rooms = [p if chosen.any_size and p - m >= max(_SMALLEST_PATCH, 2 * m) else 0 for p, m in edges]
        if not any(rooms):
            return None
        axis = rooms.index(max(rooms))
        return tuple(p - m if a == axis else p for a, (p, m) in enumerate(edges))

    return smaller
