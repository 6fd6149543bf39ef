"""Pre-training without labels: a U-Net restores parts of images that were covered, and its encoder is kept.

Source: masked image modeling, as in MAE (He et al., CVPR 2022, arXiv:2111.06377) and, for U-Nets on 3D images, Spark3D
(Wald et al., CVPR 2025, arXiv:2410.23132). Unlike there, covered voxels are seen by the convolutions, as zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..data.affine import reorient, spacing_kji
from ..data.volume import volume_digest
from ..data.volume_checks import ct_doubts, reject_unusable
from ..data.volume_fixes import BODY_HU
from ..inference.preprocessing import prepare
from ..io.read import read_volume
from ..networks.table import build_network
from ..util.atomic_write import atomic_folder
from ..util.errors import DeepSegError, UsageError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.words import counted
from .checks import CaseFacts, Report
from .contrast import Contrasted, TwoViews
from .covering import Covered, restoration_loss
from .dataset import CaseFiles
from .encoder import write_encoder
from .export import engine_plan
from .loop import CHECKPOINT, Training
from .optimization import Options, Outcome, Size
from .patches import Patches
from .plan_file import described
from .planning import TrainingPlan
from .prepared import PreparedCase
from .recipe import final_plan, initialize, smaller_patch
from .run import check_output, require_packages, work_folder

_SAMPLED = 10_000


def look_at_images(
    images: Sequence[Path], progress: Progress = ignore_progress, cancel: Cancel = never_cancel
) -> Report:
    """Read images without labels for a plan; one that cannot be used is an error of the report."""
    cases, errors = list[CaseFacts](), list[DeepSegError]()
    for number, path in enumerate(images):
        check(cancel)
        progress("check", number / len(images), path.name)
        facts = CaseFacts(CaseFiles(path.name, path, path))
        try:
            volume = read_volume(path)
            greys = reject_unusable(volume)
        except DeepSegError as error:
            facts.error = error
            errors.append(error)
        else:
            view, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
            facts.shape, facts.spacing = view.shape, tuple(map(float, spacing_kji(matrix)))
            facts.not_ct, facts.digest = ct_doubts(volume, greys)[0], volume_digest(volume)
            body = volume.array[volume.array > BODY_HU]
            inside = body if body.size and not facts.not_ct else volume.array.ravel()
            facts.intensities = np.random.default_rng(0).choice(inside, (1, min(_SAMPLED, inside.size))).astype(float)
        cases.append(facts)
    progress("check", 1.0, counted(len(images), "image"))
    modality = "CT" if not any(facts.not_ct for facts in cases) else None
    return Report(cases, ["image"], modality, [], errors)


def pretrain_encoder(
    report: Report,
    plan: TrainingPlan,
    output: Path,
    options: Options,
    device: torch.device,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    contrast: bool = False,
) -> Outcome:
    """Pre-train the encoder of a U-Net, from where an earlier run with the same output stopped.

    Args:
        report: of :func:`look_at_images`.
        plan: of :func:`~.planning.plan_training` for that report.
        output: folder for the encoder, which :func:`~.encoder.read_encoder` reads.
        contrast: also learn which views show the same crop, see :mod:`.contrast`.

    Raises:
        InputError, ModelError, OutputError, ResourceError: see :func:`~.run.train_model`.
        UsageError: the network is no U-Net, or ``contrast`` has one patch per step, nothing to tell it from.
    """
    report.raise_first()
    require_packages(plan.network)
    if not plan.is_unet:
        raise UsageError(
            f"The network {plan.network} cannot be pre-trained.", "Choose unet or resenc.", code="usage.network"
        )
    if contrast and plan.batch < 2:
        raise UsageError(
            "Contrast needs at least two patches per step.", "Choose a batch of 2 or more.", code="usage.batch"
        )
    work = work_folder(output)
    check_output(output, work / CHECKPOINT)
    cases = _prepared(report, plan, work / "cases", progress, cancel)
    torch.manual_seed(options.seed)
    network = build_network(plan.architecture, 1)
    initialize(network)

    contrasted = Contrasted(network, plan.architecture["arch_kwargs"]["features_per_stage"][-1]) if contrast else None

    def samples(patch: Size) -> Covered:
        return (TwoViews if contrast else Covered)(Patches(cases, patch, plan.spacing, options.seed))

    kind = json.dumps([sorted(facts.digest for facts in report.cases), described(plan), *["contrast"] * contrast])
    training = Training(
        contrasted or network,
        samples,
        restoration_loss,
        work,
        plan.patch,
        kind=hashlib.sha256(kind.encode()).hexdigest(),
        options=replace(options, batch=plan.batch),
        device=device,
        also=contrasted.loss if contrasted is not None else None,
        smaller=smaller_patch(plan),
    )
    outcome = training.run(progress, cancel)
    weights = {name.removeprefix("network."): tensor for name, tensor in outcome.weights.items()}
    write_encoder(output, weights, final_plan(plan, outcome))
    return outcome


def _prepared(
    report: Report, plan: TrainingPlan, folder: Path, progress: Progress, cancel: Cancel
) -> list[PreparedCase]:
    """The images on the grid of a plan, with labels of which nothing is known."""
    engine = engine_plan(plan)
    with atomic_folder(folder) as temporary:
        for number, facts in enumerate(report.cases):
            check(cancel)
            progress("prepare", number / len(report.cases), facts.files.name)
            image = prepare(read_volume(facts.files.image), engine, torch.device("cpu")).image.numpy()
            np.save(temporary / f"{number}_image.npy", image.astype(np.float16))
            np.save(temporary / f"{number}_labels.npy", np.zeros(image.shape[1:], np.int16))
    progress("prepare", 1.0, counted(len(report.cases), "image"))
    return [PreparedCase(facts.files.name, folder / str(n), {}, ()) for n, facts in enumerate(report.cases)]
