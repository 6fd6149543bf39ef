"""From a checked data set and a plan to a model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from ..models.backends import kind_of
from ..networks.table import trainable
from ..util.atomic_write import check_output_folder
from ..util.errors import OutputError, ResourceError
from ..util.packages import lacks_extra
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .checks import Report
from .encoder import is_encoder
from .export import write_results
from .loop import CHECKPOINT
from .optimization import SGD_RATE, Options, Outcome
from .parallel import ALONE, Ranks
from .planning import TrainingPlan
from .prepared import prepare_cases
from .recipe import Recipe, final_plan, train_network
from .transfer import Origin
from .validation import held_out


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
        raise lacks_extra(
            ResourceError, "Training needs MONAI, which is not installed.", "monai", code="resource.package"
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
    weights: Mapping[str, float] | None = None,
    device: torch.device | None = None,
    title: str = "",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Outcome:
    """Train a network, from where an earlier run with the same output stopped, and write it as a model.

    When ``cancel`` says so, the training is saved and the best network so far is written; the same call goes on.

    Args:
        report, plan, options, origin, keep_old, loss, weights: see :class:`~.recipe.Recipe`.
        output: folder of the model; checkpoints are in :func:`work_folder`.
        device: that computes; None for the CPU.
        title: of the model; that of the folder if empty.

    Raises:
        InputError: a case cannot be used, or the checkpoint there belongs to another training.
        OutputError: the folder has a model that was not trained there, or cannot be written.
        UsageError: the loss has no weights.
        ModelError, ResourceError: see :meth:`~.loop.Training.run`.
        Cancelled: before the training had begun.
    """
    recipe = Recipe(report, plan, options, origin, keep_old, loss, weights or {}, device or torch.device("cpu"))
    return train_recipe(recipe, output, title=title, progress=progress, cancel=cancel)


def train_recipe(
    recipe: Recipe,
    output: Path,
    *,
    title: str = "",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    ranks: Ranks = ALONE,
) -> Outcome:
    """As :func:`train_model`, for a recipe, and for several processes that train together."""
    work = work_folder(output)
    for turn in (True, False):  # the others find what the first one prepared
        if ranks.is_first == turn:
            if turn:
                check_before(recipe, output, work / CHECKPOINT)
            prepared = prepare_cases(recipe.report.cases, recipe.plan, work / "cases", progress, cancel)
        ranks.wait()
    outcome = train_network(recipe, *held_out(prepared, recipe.report.patients), work, progress, cancel, ranks)
    if not ranks.is_first:
        return outcome
    name, plan = title or output.resolve().name, final_plan(recipe.plan, outcome)
    facts = recipe.provenance(outcome)
    write_results(output, outcome.weights, plan, name, len(prepared), facts, rights=recipe.rights)
    return outcome


def check_recipe(recipe: Recipe) -> None:
    """Check that a training can begin.

    Raises:
        InputError, ResourceError, UsageError: see :func:`train_model`.
    """
    recipe.report.raise_first()
    require_packages(recipe.plan.network)
    recipe.loss_for([list(range(1, len(recipe.plan.structures) + 1))])


def check_before(recipe: Recipe, output: Path, *checkpoints: Path) -> None:
    """Check before a long training that it can begin, and that its model can be written and replaces none but its own.

    Args:
        checkpoints: that show that a model in ``output`` is its own.

    Raises:
        InputError, OutputError, ResourceError, UsageError: see :func:`train_model`.
    """
    check_recipe(recipe)
    check_output(output, *checkpoints)


def check_output(output: Path, *checkpoints: Path) -> None:
    """Check that a model can be written, and replaces none but its own; see :func:`check_before`.

    Raises:
        OutputError: it cannot, or it would.
    """
    if output.is_dir() and any(output.iterdir()) and not any(path.is_file() for path in checkpoints):
        is_model = kind_of(output) is not None or is_encoder(output)
        raise OutputError(
            f"{output} {'already has a model' if is_model else 'has other files'}, and {work_folder(output)} has no "
            "checkpoint to continue it.",
            f"Choose another folder{', or delete that model' if is_model else ''}.",
            code="output.exists",
        )
    check_output_folder(output)
