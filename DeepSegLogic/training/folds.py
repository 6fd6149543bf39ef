"""Cross-validation in nnU-Net's manner: every patient is held out once, and the networks are an ensemble.

As there, a fold ends with its last network, not with the one that was best on the cases that it is measured on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.types import LabelArray
from ..inference.presets import quality
from ..inference.volume_run import Clock, VolumeRun
from ..models.files import read_json
from ..models.model import Model
from ..networks.table import build_network
from ..util.atomic_write import atomic_path
from ..util.errors import UsageError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel, share
from ..util.tables import write_table
from ..util.words import counted
from .checks import CaseFacts
from .export import engine_plan, model_card, write_results
from .loop import CHECKPOINT
from .optimization import Outcome
from .planning import TrainingPlan
from .prepared import prepare_cases
from .reading import ReadCase, read_case
from .recipe import Recipe, final_plan, train_network
from .run import check_before, work_folder

SCORES = "cross_validation.csv"
_SEED = 12345  # nnU-Net's
_VALIDATION = "validation.json"

Scores = dict[str, dict[str, float | None]]
"""Dice by case and structure that was looked for; None where there is none and none was found."""


@dataclass(frozen=True)
class Fold:
    """What one fold gave.

    Attributes:
        number: from 0.
        outcome: of its training.
        scores: of the cases that it did not see; empty if it was stopped.
    """

    number: int
    outcome: Outcome
    scores: Scores

    def means(self) -> dict[str, float | None]:
        """The mean Dice by structure."""
        return means(self.scores)


def split(patients: Sequence[Sequence[str]], folds: int) -> list[list[str]]:
    """The cases that each fold holds out: nnU-Net's for the same names, if every patient has one case.

    Args:
        patients: names of the cases of each.

    Raises:
        UsageError: there are fewer patients than folds, or one fold.
    """
    if not 2 <= folds <= len(patients):
        cases, number = sum(map(len, patients)), len(patients)
        of = f" of {counted(number, 'patient')}" if number < cases else ""
        raise UsageError(
            f"{counted(cases, 'case')}{of} cannot be divided into {folds} folds.",
            f"Choose at least 2 folds, and at most as many as there are {'patients' if of else 'cases'}."
            + (
                " If the patients are others, name them in the column patient of a table of cases, or in patients.csv."
                if of
                else ""
            ),
            code="usage.folds",
        )
    ordered, order = sorted(map(sorted, patients)), np.arange(len(patients))
    np.random.RandomState(_SEED).shuffle(order)
    return [sorted(name for n in part for name in ordered[n]) for part in np.array_split(order, folds)]


def check_fold(folds: int, only: int | None) -> None:
    """Raise :class:`UsageError` if there is no such fold; None is all of them."""
    if only is not None and not 0 <= only < folds:
        raise UsageError(f"There is no fold {only} of {folds}.", f"Choose 0 to {folds - 1}.", code="usage.folds")


def check_folds(recipe: Recipe, folds: int, only: int | None = None) -> list[list[str]]:
    """The cases that each fold holds out.

    Args:
        folds, only: see :func:`cross_validate`.

    Raises:
        UsageError: too many folds for the patients, no such fold, or a network that cannot be an ensemble.
    """
    apart = split(recipe.report.patients, folds)
    check_fold(folds, only)
    if not recipe.plan.is_unet:
        raise UsageError(
            f"Folds of the network {recipe.plan.network} cannot be one model.",
            "Choose unet or resenc, or train without folds.",
            code="usage.folds",
        )
    return apart


def cross_validate(
    recipe: Recipe,
    output: Path,
    folds: int,
    only: int | None = None,
    *,
    title: str = "",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[Fold]:
    """Train a network per fold, measure each on the cases that it did not see, and write all as one model.

    What was done before is taken from the folder of the training; ``cancel`` works as in :func:`~.run.train_model`.

    Args:
        folds: number of them.
        only: number of the only fold to train, from 0; the others are trained by other calls. None for all.

    Raises:
        UsageError: see :func:`check_folds`.
        DeepSegError: see :func:`~.run.train_model`.
    """
    recipe.report.raise_first()
    apart = check_folds(recipe, folds, only)
    work = work_folder(output)
    check_before(recipe, output, *(work / f"fold_{n}" / CHECKPOINT for n in range(folds)))
    prepared = prepare_cases(recipe.report.cases, recipe.plan, work / "cases", progress, cancel)
    chosen = range(folds) if only is None else [only]
    if recipe.options.seconds is not None:
        recipe = replace(recipe, options=replace(recipe.options, seconds=recipe.options.seconds / len(chosen)))
    done: list[Fold] = []
    for place, number in enumerate(chosen):
        told = share(progress, place / len(chosen), (place + 1) / len(chosen), f"fold {number}")
        cases = [case for case in prepared if case.name not in apart[number]]
        others = [case for case in prepared if case.name in apart[number]]
        own = work / f"fold_{number}"
        outcome = train_network(recipe, cases, others, own, told, cancel, best=False)
        plan, scores = final_plan(recipe.plan, outcome), Scores()
        if not outcome.stopped:
            held_out = [facts for facts in recipe.report.cases if facts.files.name in apart[number]]
            scores = _scores(own, held_out, plan, outcome.weights, recipe.device, told, cancel)
        done.append(Fold(number, outcome, scores))
        facts = recipe.provenance(outcome) | {"folds": _folds(work, folds)}
        name = title or output.resolve().name
        write_results(output, outcome.weights, plan, name, len(prepared), facts, number, recipe.rights)
        if outcome.stopped:
            break
    _write_scores(work, folds)
    return done


def means(scores: Scores) -> dict[str, float | None]:
    """The mean Dice by structure, over the cases that have one."""
    values: dict[str, list[float]] = {}
    for own in scores.values():
        for name, dice in own.items():
            values.setdefault(name, []).extend([] if dice is None else [dice])
    return {name: sum(own) / len(own) if own else None for name, own in values.items()}


def case_dice(found: LabelArray, case: ReadCase, plan: TrainingPlan, asked: frozenset[str]) -> dict[str, float | None]:
    """Dice by structure of labels (K, J, I) that a network of a plan gave for a case; voxels to ignore do not count."""
    result: dict[str, float | None] = {}
    counted = case.counted
    for value, name in enumerate(plan.structures, 1):
        if name in asked:
            own = (value,) if plan.regions is None else plan.regions.values[name]
            mask, truth = np.isin(found, own) & counted, np.isin(case.labels, case.structures.get(name, ()))
            size = int(mask.sum() + truth.sum())
            result[name] = 2 * int((mask & truth).sum()) / size if size else None
    return result


def _scores(
    own: Path,
    cases: Sequence[CaseFacts],
    plan: TrainingPlan,
    weights: Mapping[str, torch.Tensor],
    device: torch.device,
    progress: Progress,
    cancel: Cancel,
) -> Scores:
    """Dice of whole cases on their own grid, as the engine gives them; those of an earlier call with the same weights
    and cases if there are."""
    path, made_of = own / _VALIDATION, _made_of(weights, cases)
    kept = read_json(path) if path.is_file() else {}
    if kept.get("made_of") == made_of:
        earlier: Scores = kept["dice"]
        return earlier
    network = build_network(plan.architecture, plan.outputs, plan.inputs)
    network.load_state_dict(weights)
    model = Model(model_card(plan, "model", "model"), engine_plan(plan), [network.eval()])
    found: Scores = {}
    for number, facts in enumerate(cases):
        check(cancel)
        progress("validate", number / len(cases), facts.files.name)
        case = read_case(facts.files)
        run = VolumeRun(case.volume, model, model.labels, quality("standard"), device, Clock(), channels=case.further)
        run.all_parts(ignore_progress, cancel)
        found[facts.files.name] = case_dice(run.labels, case, plan, facts.looked_for or frozenset())
    progress("validate", 1.0, counted(len(cases), "case"))
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"made_of": made_of, "dice": found}), "utf-8")
    return found


def _made_of(weights: Mapping[str, torch.Tensor], cases: Sequence[CaseFacts]) -> str:
    """A digest of all that scores depend on."""
    digest = hashlib.sha256(json.dumps([[facts.digest, facts.labels_digest] for facts in cases]).encode())
    for tensor in weights.values():
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _validations(work: Path, folds: int) -> Iterator[tuple[int, Scores]]:
    for number in range(folds):
        path = work / f"fold_{number}" / _VALIDATION
        if path.is_file():
            yield number, read_json(path)["dice"]


def _folds(work: Path, folds: int) -> dict[str, Any]:
    """For the card: the mean Dice of each fold that is done, without names of cases."""
    return {
        str(number): {name: None if dice is None else round(dice, 4) for name, dice in means(scores).items()}
        for number, scores in _validations(work, folds)
    }


def _write_scores(work: Path, folds: int) -> None:
    rows = [
        (number, case, name, "" if dice is None else f"{dice:.4f}")
        for number, scores in _validations(work, folds)
        for case, row in scores.items()
        for name, dice in row.items()
    ]
    with atomic_path(work / SCORES) as temporary:
        write_table(temporary, ("fold", "case", "structure", "dice"), rows)
