"""What a model's card says about its probabilities and its training, found from data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.label_map import LabelMap, Structure
from ..data.volume import volume_digest
from ..models.card import ModelCard
from ..models.files import CARD_FILE
from ..models.model import load_model
from ..models.provenance import learnt_from
from ..util.atomic_write import atomic_path
from ..util.errors import ModelError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel, share
from .calibration import Reliability
from .temperature import HeldOut, confidence_and_hits, fit_temperature, held_out, held_out_outputs

if TYPE_CHECKING:
    import torch

    from ..models import Model
    from ..training.dataset import CaseFiles

_LEARNT = "The model was trained on these cases, on which it is surer than on new ones: {}."
_WINDOWS = 24  # of a case that are looked at


@dataclass(frozen=True)
class CaseCalibration:
    """The calibration error of one held-out case, over the voxels of its structures and around.

    Attributes:
        before: of the probabilities as they are.
        after: with the temperature that fits the *other* cases; None for the only case.
        structure: what it is about, where each has a temperature of its own; else empty.
    """

    name: str
    before: float
    after: float | None
    structure: str = ""


@dataclass(frozen=True)
class Calibrated:
    """A temperature, fitted to all held-out cases, and what it is worth on each.

    Attributes:
        temperature: of all labels, or of each output where structures overlap.
        structures: of the outputs; empty for labels that exclude each other.
        warnings: one sentence each.
    """

    temperature: float | list[float]
    cases: list[CaseCalibration]
    structures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def fit_to(
    card: ModelCard,
    data: Path,
    *,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Calibrated:
    """Fit the temperature of a model to the cases of a data set that it was not trained on.

    Where its structures overlap, each output gets a temperature of its own; it keeps the one that it had if no case has
    the structure.

    Raises:
        InputError: the data set cannot be read, or fits not the model.
        ModelError: see :func:`~DeepSegLogic.evaluation.temperature.held_out`.
    """
    from ..io.dataset_names import IGNORE
    from ..training.beginnings import regions_in
    from ..training.dataset import find_cases
    from ..training.reading import read_case

    model = load_model(replace(card, temperature=1.0))
    regions = regions_in(card) if model.plan is not None and model.plan.regions is not None else None
    outputs = list(regions.values) if regions is not None else _outputs(model)
    names: list[str] = []
    learnt: list[str] = []
    found: list[list[HeldOut]] = []
    files = find_cases(data)
    for number, case in enumerate(files):
        check(cancel)
        read = read_case(replace(case, model=regions))
        asked = read.names.values() if read.looked_for is None else read.looked_for
        structures = [Structure(value, name, name) for value, name in read.names.items() if name in asked]
        reference = LabelMap(read.labels, read.volume.ijk_to_ras, structures)
        ignored = next((value for value, name in read.names.items() if name == IGNORE), None)
        told = share(progress, number / len(files), (number + 1) / len(files), case.name)
        options: Any = {"further": read.further, "ignored": ignored, "device": device}
        options |= {"progress": told, "cancel": cancel}
        if outputs:
            known = {name.casefold(): v for name, v in read.structures.items() if name in asked or not read.looked_for}
            values = [known.get(name.casefold()) for name in outputs]
            found.append(held_out_outputs(read.volume, model, reference, values, **options))
        else:
            found.append([held_out(read.volume, model, reference, **options)])
        names.append(case.name)
        if learnt_from(card, volume_digest(read.volume)):
            learnt.append(case.name)
    warnings = [_LEARNT.format(", ".join(learnt))] if learnt else []
    if outputs:
        return replace(calibrated_outputs(names, found, outputs, card.temperature), warnings=warnings)
    assert not isinstance(card.temperature, list)  # as the model would not load
    return replace(calibrated(names, [case for [case] in found], card.temperature), warnings=warnings)


def _outputs(model: Model) -> list[str]:
    """The structures of outputs that may overlap, each with a label of its own; empty for exclusive labels."""
    plan = model.plan
    return [] if plan is None or plan.regions is None else [plan.labels[value] for value in plan.regions]


def calibrated(names: Sequence[str], cases: Sequence[HeldOut], present: float = 1.0) -> Calibrated:
    """The temperature for held-out cases.

    Args:
        names: of the cases.
        present: the temperature so far.
    """
    rows = []
    for number, (name, case) in enumerate(zip(names, cases, strict=True)):
        others = [other for n, other in enumerate(cases) if n != number]
        after = calibration_error(case, fit_temperature(others)) if others else None
        rows.append(CaseCalibration(name, calibration_error(case, present), after))
    return Calibrated(fit_temperature(cases), rows)


def calibrated_outputs(
    names: Sequence[str],
    cases: Sequence[Sequence[HeldOut]],
    structures: Sequence[str],
    present: float | Sequence[float] = 1.0,
) -> Calibrated:
    """The temperature of each output, as :func:`calibrated` finds it.

    Args:
        cases: of each case, what :func:`~.temperature.held_out_outputs` gives.
        structures: of the outputs.

    Raises:
        InputError: no case has voxels of a structure.
    """
    before = [present] * len(structures) if isinstance(present, float | int) else list(present)
    rows: list[CaseCalibration] = []
    temperatures: list[float] = []
    for structure, old, own in zip(structures, before, zip(*cases, strict=True), strict=True):
        seen = [(name, case) for name, case in zip(names, own, strict=True) if len(case.labels)]
        if not seen and any(len(case.labels) for every in cases for case in every):
            temperatures.append(old)
            continue
        fitted = calibrated([name for name, _ in seen], [case for _, case in seen], old)
        assert isinstance(fitted.temperature, float)
        temperatures.append(fitted.temperature)
        rows += [replace(row, structure=structure) for row in fitted.cases]
    return Calibrated(temperatures, rows, list(structures))


def calibration_error(case: HeldOut, temperature: float) -> float:
    """ECE of the largest probability as that of being right (Guo et al., ICML 2017)."""
    return Reliability.of(*confidence_and_hits(case, temperature)).ece


def statistics_of(
    card: ModelCard, data: Path, *, progress: Progress = ignore_progress, cancel: Cancel = never_cancel
) -> dict[str, Any]:
    """The statistics of the images of a data set as a model of one network sees them, for its card.

    Raises:
        InputError: the data set cannot be read.
        ModelError: the model has several parts.
    """
    from ..inference.familiarity import TrainingStatistics
    from ..training.dataset import find_cases

    model = load_model(card)
    plan = model.plan
    if plan is None or plan.previous_labels:
        raise ModelError(
            f"{card.id} has several networks, so there is no one training to describe.",
            "Describe each of them as a model of its own.",
            code="model.parts",
        )
    network = model.networks[0]
    windows = _windows(model, find_cases(data), progress, cancel)
    return TrainingStatistics.of(windows, network, plan.normalization, coarsest_stage(network)).as_json()


def coarsest_stage(network: torch.nn.Module) -> str:
    """The name of the last encoder stage of nnU-Net's networks; empty for others, whose features are not looked at."""
    stages = [n for n, _ in network.named_modules() if n.startswith("encoder.stages.") and n.count(".") == 2]
    return max(stages, key=lambda name: int(name.rpartition(".")[2]), default="")


def noted(card: ModelCard, temperature: float | list[float] | None, statistics: dict[str, Any] | None) -> None:
    """Write them into the model's card; what is None stays.

    Raises:
        ModelError: the model is not on this machine.
        OutputError: the card cannot be written.
    """
    if temperature is not None:
        card = replace(card, temperature=temperature)
    if statistics is not None:
        card = replace(card, training_statistics=statistics)
    text = json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n"
    with atomic_path(card.installed_folder / CARD_FILE) as temporary:
        temporary.write_text(text, "utf-8")


def _windows(model: Model, files: Sequence[CaseFiles], progress: Progress, cancel: Cancel) -> Iterator[torch.Tensor]:
    """Windows (C, Z, Y, X) of each case, spread evenly."""
    import torch

    from ..inference.grid_plan import Grids
    from ..inference.preprocessing import prepare
    from ..training.reading import read_case

    plan = model.plan
    assert plan is not None
    for number, case in enumerate(files):
        check(cancel)
        progress("statistics", number / len(files), case.name)
        read = read_case(case)
        grids = Grids(read.volume, channels=read.further)
        prepared = prepare(read.volume, plan, torch.device("cpu"), grids, read.further)
        grid = prepared.grid.windows(plan.patch_size, 0.5)
        image = grid.covered(prepared.image, plan.padding)
        starts = [(z, y, x) for z, inner in grid.levels() for y, x in inner]
        for z, y, x in starts[:: max(1, len(starts) // _WINDOWS)]:
            dz, dy, dx = plan.patch_size
            yield image[:, z : z + dz, y : y + dy, x : x + dx]
    progress("statistics", 1.0, "")
