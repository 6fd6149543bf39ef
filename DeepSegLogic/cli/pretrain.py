"""``deepseg pretrain``: from images without labels to an encoder that ``deepseg train --from`` begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..util.errors import Cancelled
from ..util.words import counted
from .checks import before_reading, must_be_one_duration
from .console import Console, as_typed
from .options import Batch, Device, Json, Minutes, Patch, Quiet, Spacing, Steps, output_folder, path_argument
from .train import numbers
from .train_views import cases_table, plan_table

_MINUTES = 60.0


def pretrain(
    images: Annotated[Path, path_argument("IMAGES", "Folder with images; labels in it are ignored.")],
    output: Annotated[Path, output_folder("For the encoder.")],
    network: Annotated[str, typer.Option(metavar="NETWORK", help="unet or resenc.")] = "unet",
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    spacing: Spacing = "",
    patch: Patch = "",
    batch: Batch = None,
    contrast: Annotated[
        bool, typer.Option("--contrast", help="Learn also which views show the same place; --batch 2 or more.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pre-train a network on images without labels. Run again with the same output to continue after any stop."""
    from ..inference.device import choose_device
    from ..training.dataset import find_images
    from ..training.loop import CHECKPOINT
    from ..training.optimization import Options
    from ..training.planning import plan_training
    from ..training.pretraining import look_at_images, pretrain_encoder
    from ..training.run import budget, check_output, rate_for, require_packages, work_folder

    console = Console(quiet, as_json)
    must_be_one_duration(minutes, steps)
    chosen = choose_device(device)
    require_packages(network)
    before_reading(images)
    voxel, edges, given = numbers(spacing, "--spacing"), numbers(patch, "--patch"), budget(chosen)
    check_output(output, work_folder(output) / CHECKPOINT)
    with console.working():
        report = look_at_images(find_images(images), console.progress, console.cancelled)
        console.show(cases_table(report))
        report.raise_first()
        plan = plan_training(
            report,
            network,
            memory_gb=given.memory_gb,
            width=given.width,
            spacing=voxel,
            patch=edges,
            batch=batch,
        )
        plan = replace(plan, structures=())
        console.show(plan_table(plan.lines()))
        seconds = None if steps is not None else 60 * (minutes or _MINUTES)
        options = Options(steps=steps, seconds=seconds, rate=rate_for(network, "adamw"))
        told = console.progress, console.cancelled
        outcome = pretrain_encoder(report, plan, output, options, chosen, *told, contrast=contrast)
    for sentence in outcome.warnings:
        console.warning(sentence)
    difference = "loss" if contrast else "mean difference in standard deviations"
    console.say(f"\n{counted(outcome.step, 'step')}, {difference} {outcome.loss:.3f}.")
    console.say(f"Encoder: {output}. Use it with `deepseg train DATA -o FOLDER --from {as_typed(output)}`.")
    console.event("result", output=str(output), steps=outcome.step, loss=outcome.loss, warnings=outcome.warnings)
    if outcome.stopped:
        raise Cancelled("Stopped. The encoder so far was written; the same command continues the training.")
