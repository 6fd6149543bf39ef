"""A fine-tune on corrected cases: train, compare, offer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..inference.device import choose_device
from ..models.card import ModelCard
from ..models.files import CARD_FILE
from ..models.find import find_model
from ..models.store import Store
from ..training.beginnings import regions_in
from ..training.checks import check_cases
from ..training.optimization import Options
from ..training.run import rate_for, require_packages, train_model, work_folder
from ..training.transfer import begin_with
from ..util.atomic_write import atomic_path
from ..util.errors import Cancelled, DeepSegError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from ..util.words import counted
from .cases import NEXT, CorrectedCase, CorrectedCases
from .comparison import Row, compare, mean_of
from .lineage import MINUTES, adapted_facts, check_can_learn, learnt_before, next_version, original_of
from .offer import Offer, clear, write_offer

_COMPARED = 5  # cases that were learnt from


def adapt(
    model: str,
    cases: CorrectedCases | None = None,
    *,
    minutes: float = MINUTES,
    steps: int | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Offer:
    """Fine-tune a model on its corrected cases, and compare it with what it was.

    The cases of a patient from whom no version has learnt are held out, if there is another patient to learn from: of
    the patients with fewest cases, the newest. A case whose patient is not known has one of its own. What was not
    corrected is kept: the present model labels it softly (:mod:`DeepSegLogic.training.transfer`). A stopped run is
    continued by the next call with the same cases.

    Args:
        model: id of an installed model, or of an adapted version of it.
        cases: to learn from; by default those in the user's data folder.
        minutes: to train.
        steps: to train instead, for the same result at every speed.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`. Stages: ``"read"``, ``"prepare"``, ``"train"``,
            ``"compare"``.

    Returns:
        The new version, to accept or to discard. The model is not changed.

    Raises:
        InputError: there are no cases, or one cannot be used.
        ModelError: there is no such model, or it cannot be trained.
        UsageError: the model is not installed, or another program trains it now.
        ResourceError, OutputError: out of memory, a package is missing, or the disk is full; checkpoints stay.
        Cancelled: ``cancel`` said so; checkpoints stay.

    Example:
        >>> from DeepSegLogic import CorrectedCases, adapt, read_label_map, read_volume
        >>> cases = CorrectedCases("ct_demo", "my_corrections")
        >>> case = cases.add(read_volume("ct.nrrd"), read_label_map("organs.seg.nrrd"), ["left_lung"])
        >>> offer = adapt("ct_demo", cases, steps=1, device="cpu")
        >>> offer.notes[0]
        'Nothing was held out: there is one corrected case. How the new version does on others is not known.'
        >>> offer.discard()
    """
    card = find_model(model)
    check_can_learn(card)
    cases = cases or CorrectedCases(model)
    next_version(card, Store())  # raises now if its id is taken
    chosen_device = choose_device(device)
    with cases.exclusively():
        held_out, taught, notes = _split(cases.usable(), learnt_before(card))
        files = [replace(case.files, model=regions_in(card)) for case in taught]
        report = check_cases(files, card.modality, lambda _, *told: progress("read", *told), cancel)
        report.raise_first()
        origin = replace(begin_with(card, report), old_layers=1.0)  # as nnU-Net fine-tunes: there are few steps
        require_packages(origin.plan.network)
        options = Options(
            steps=steps, seconds=None if steps else 60 * minutes, rate=rate_for(origin.plan.network, "adamw")
        )
        output = cases.folder / NEXT

        def train() -> bool:
            return train_model(
                report,
                origin.plan,
                output,
                origin=origin,
                options=options,
                device=chosen_device,
                progress=progress,
                cancel=cancel,
            ).stopped

        try:
            stopped = train()
        except DeepSegError as error:
            if error.code not in ("input.checkpoint", "output.exists"):
                raise
            clear(cases.folder)  # of other cases, or of another version
            stopped = train()
        if stopped:
            raise Cancelled("Learning was stopped. The next start with the same cases continues it.")
        after = _described(card, ModelCard.read(output), taught)
        rows = compare(card, after, held_out, taught[-_COMPARED:], str(chosen_device), progress, cancel)
        _write_card(replace(after, dice=_dice(rows, held_out)))
        offer = Offer(output, (card.id, card.version), tuple(rows), (*notes, *_doubts(rows)))
        write_offer(offer)
        shutil.rmtree(work_folder(output), ignore_errors=True)  # patients' images, and checkpoints of no more use
    return offer


def _split(cases: list[CorrectedCase], known: set[str]) -> tuple[list[CorrectedCase], list[CorrectedCase], list[str]]:
    """Cases to hold out, those to learn from, and what to know about that.

    Args:
        known: digests of the cases that earlier versions have learnt from.
    """
    patients: dict[str, list[CorrectedCase]] = {}
    for case in cases:
        patients.setdefault(case.patient or case.digest, []).append(case)
    fresh = [own for own in patients.values() if known.isdisjoint(case.digest for case in own)]
    if len(cases) == 1:
        why = "there is one corrected case"
    elif len(patients) == 1:
        why = "all corrected cases are of one patient"
    elif not fresh:
        why = "an earlier version has learnt from every patient with corrected cases"
    else:
        held = max(fresh, key=lambda own: (-len(own), own[-1].created))
        names = ", ".join(case.name for case in held)
        told = [f"Held out, all of one patient: {names}." if len(held) > 1 else f"Held out: {names}."]
        if unknown := sum(not case.patient for case in cases):
            told.append(
                f"The patient of {counted(unknown, 'corrected case')} is not known. "
                "If the model learnt from the patient that is held out, that Dice is too high."
            )
        return held, [case for case in cases if case not in held], told
    return [], cases, [f"Nothing was held out: {why}. How the new version does on others is not known."]


def _doubts(rows: Sequence[Row]) -> list[str]:
    doubts = []
    held, kept = mean_of(rows, "held_out"), [row for row in rows if row.role == "kept"]
    if held is not None and held[1] < held[0]:
        doubts.append("The new version is worse on what was held out.")
    if kept and (least := min(kept, key=lambda row: row.after)).after < 0.9:
        doubts.append(f"What was not corrected changed most for {least.structure}: Dice {least.after:.2f} with before.")
    return doubts


def _dice(rows: Sequence[Row], held_out: Sequence[CorrectedCase]) -> dict[str, dict[str, float]]:
    """As :attr:`~DeepSegLogic.models.card.ModelCard.dice` has it; held-out cases are named by their digests."""
    names = {"held_out": " ".join(["held out:", *(case.digest for case in held_out)])}
    return {
        names.get(role, role): {row.structure: round(row.after, 4) for row in rows if row.role == role}
        for role in dict.fromkeys(row.role for row in rows)
    }


def _described(old: ModelCard, new: ModelCard, taught: Sequence[CorrectedCase]) -> ModelCard:
    """The card of the new version, with what stays true of the old one."""
    cases = [{"digest": case.digest, "structures": list(case.structures)} for case in taught]
    facts: dict[str, Any] = {
        "original": original_of(old),
        "cases": cases,
        "earlier_cases": sorted(learnt_before(old) - {case.digest for case in taught}),
    }
    title = old.title if adapted_facts(old) else f"{old.title}, adapted"
    described = replace(
        new,
        title=title,
        licence=old.licence,
        citation=old.citation,
        intended_use=old.intended_use,
        source=old.source,
        notes=old.notes,
        crop=old.crop,
        postprocess=old.postprocess,
        min_piece_ml={name: least for name, least in old.min_piece_ml.items() if name in new.structures},
        one_piece=[name for name in old.one_piece if name in new.structures],
        description=f"{new.description} Made from {old.id}, version {old.version}, and "
        f"{counted(len(cases), 'corrected case')}.",
        provenance={**new.provenance, "adapted": facts},
    )
    _write_card(described)
    return described


def _write_card(card: ModelCard) -> None:
    with atomic_path(card.installed_folder / CARD_FILE) as temporary:
        temporary.write_text(json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
