"""From a checked data set and a plan to a model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..data.terminology import structure_for
from ..models.backends import kind_of
from ..models.provenance import digest_of
from ..networks.table import build_network, trainable
from ..networks.unet import UNet
from ..util.atomic_write import atomic_folder
from ..util.errors import OutputError, ResourceError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from ..util.version import __version__, how_to_install
from .checks import Report
from .export import write_results
from .loop import CHECKPOINT, Training
from .losses import CaseLoss
from .optimization import SGD_RATE, Options, Outcome, Size
from .patches import Patches
from .planning import TrainingPlan
from .prepared import prepare_cases
from .transfer import Distillation, Origin, grown
from .validation import PatchDice, held_out

_SMALLEST_PATCH = 16


class Budget(NamedTuple):
    """What a device can do.

    Attributes:
        memory_gb: for training; on a CPU, where time is scarce instead, that of a small patch.
        width: channels at the finest stage of a network.
    """

    memory_gb: float
    width: int


def budget(device: torch.device) -> Budget:
    """nnU-Net's 8 GB and 32 channels on a GPU, less if that is smaller; a small network on a CPU.

    It does not depend on what is free at the moment, so that an interrupted training finds the same plan.
    """
    if device.type == "cuda":
        return Budget(min(8.0, 0.8 * torch.cuda.get_device_properties(device).total_memory / 1e9), 32)
    return Budget(0.2, 16)


def require_packages(network: str) -> None:
    """Check that the packages for training a network are installed.

    Raises:
        UsageError: there is no such network.
        ResourceError: a package is missing.
    """
    needs = trainable(network).needs
    if find_spec("monai") is None:
        raise ResourceError(
            "Training needs MONAI, which is not installed.",
            "Install it.",
            code="resource.package",
            action="install_extra",
            extra="monai",
            how=how_to_install("monai"),
        )
    lacking = [name for name in needs if find_spec(name) is None]
    if lacking:
        raise ResourceError(
            f"The network {network} needs the Python package {lacking[0]}, which is not installed.",
            "Install it, or choose another network.",
            code="resource.package",
        )


def rate_for(network: str, optimizer: str) -> float:
    """The highest learning rate for a network."""
    return SGD_RATE if optimizer == "sgd" else trainable(network).rate


def work_folder(output: Path) -> Path:
    """The folder of checkpoints, curves and prepared images of a training; it stays until the user deletes it."""
    place = output.resolve()
    return place.with_name(f"{place.name}.training")


def train_model(
    report: Report,
    plan: TrainingPlan,
    output: Path,
    *,
    options: Options,
    origin: Origin | None = None,
    keep_old: bool = True,
    loss: str = "dice-ce",
    device: torch.device | None = None,
    title: str = "",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Outcome:
    """Train a network, from where an earlier run with the same output stopped, and write it as a model.

    When ``cancel`` says so, the training is saved and the best network so far is written; the same call goes on.

    Args:
        report: of :func:`~.checks.check_cases`.
        plan: of :func:`~.planning.plan_training`, or of ``origin``.
        origin: the model to begin with.
        keep_old: let it label what the cases do not, so that what it knew is kept.
        output: folder of the model; checkpoints are in :func:`work_folder`.
        options: its ``batch`` is that of the plan.
        loss: one of :data:`~.losses.LOSSES`.
        device: that computes; None for the CPU.
        title: of the model; that of the folder if empty.

    Raises:
        InputError: a case cannot be used, or the checkpoint there belongs to another training.
        OutputError: the folder has a model that was not trained there, or cannot be written.
        ModelError, ResourceError: see :meth:`~.loop.Training.run`.
        Cancelled: before the training had begun.
    """
    report.raise_first()
    require_packages(plan.network)
    device = device or torch.device("cpu")
    options = replace(options, batch=plan.batch)
    _check_output(output)
    work = work_folder(output)
    prepared = prepare_cases(report.cases, plan, work / "cases", progress, cancel)
    cases, apart = held_out(prepared)
    mirror = not any(structure_for(name, 1).laterality for name in plan.structures)

    def samples(patch: Size) -> Patches:
        return Patches(cases, patch, plan.spacing, options.seed, mirror)

    torch.manual_seed(options.seed)
    known, began = [case.looked_for for case in cases], None
    if origin is None:
        network, slower, also = build_network(plan.architecture, len(plan.structures) + 1), dict[str, float](), None
        initialize(network)
    else:
        network, slower = grown(origin)
        began = {"id": origin.card.id, "version": origin.card.version, "digest": digest_of(origin.card)}
        also = Distillation(origin.network, origin.classes, known, device) if keep_old else None
    training = Training(
        network,
        samples,
        CaseLoss(loss, known),
        work,
        plan.patch,
        kind=_kind(report, plan, loss, began),
        options=options,
        device=device,
        validate=PatchDice(apart, plan.patch, plan.spacing, device) if apart else None,
        also=also,
        smaller=smaller_patch(plan),
        slower=slower,
    )
    outcome = training.run(progress, cancel)
    z, y, x = outcome.patch
    facts = _provenance(report, plan, outcome, loss, options)
    facts["began_with"] = began
    final = replace(plan, patch=(z, y, x), batch=outcome.batch)
    write_results(output, outcome.weights, final, title or output.resolve().name, len(prepared), facts)
    return outcome


def initialize(network: nn.Module) -> None:
    """nnU-Net's first weights of its U-Nets: He's, and residual branches that begin at nothing. Others keep theirs."""
    if not isinstance(network, UNet):
        return
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif name.endswith("conv2.norm"):
            nn.init.zeros_(module.get_parameter("weight"))


def smaller_patch(plan: TrainingPlan) -> Callable[[Size], Size | None]:
    """The rule by which a patch is made smaller after a lack of memory."""
    chosen = trainable(plan.network)
    multiple = [chosen.multiple] * 3
    if plan.is_unet:
        strides = plan.architecture["arch_kwargs"]["strides"]
        multiple = [math.prod(s[axis] for s in strides) for axis in range(3)]

    def smaller(patch: Size) -> Size | None:
        edges = list(zip(patch, multiple, strict=True))
        rooms = [p if chosen.any_size and p - m >= max(_SMALLEST_PATCH, 2 * m) else 0 for p, m in edges]
        if not any(rooms):
            return None
        axis = rooms.index(max(rooms))
        return tuple(p - m if a == axis else p for a, (p, m) in enumerate(edges))

    return smaller


def _check_output(output: Path) -> None:
    """Check before a long training that its model can be written, and that it replaces none but its own."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file, not a folder.", "Choose another folder.", code="output.not_writable")
    if kind_of(output) is not None and not (work_folder(output) / CHECKPOINT).is_file():
        raise OutputError(
            f"{output} already has a model, and {work_folder(output)} has no checkpoint to continue it.",
            "Choose another folder, or delete that model.",
            code="output.exists",
        )
    with atomic_folder(output):
        pass


def _kind(report: Report, plan: TrainingPlan, loss: str, began: object) -> str:
    """What must be the same for a checkpoint to be continued."""
    facts = {
        "cases": sorted(facts.digest for facts in report.cases),
        "plan": asdict(plan),
        "loss": loss,
        "began": began,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _provenance(report: Report, plan: TrainingPlan, outcome: Outcome, loss: str, options: Options) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "trained_with": f"DeepSeg {__version__}",
        "network": plan.network,
        "steps": outcome.step,
        "batch": outcome.batch,
        "optimizer": options.optimizer,
        "learning_rate": options.rate,
        "loss": loss,
        "dice_on_held_out_patches": outcome.dice,
        "images": sorted(facts.digest for facts in report.cases),
        "warnings": outcome.warnings,
    }
