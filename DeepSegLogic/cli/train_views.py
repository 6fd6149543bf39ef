"""What ``deepseg train`` shows: tables of the cases and of the plan, and a picture of each case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..util.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.label_map import LabelMap
    from ..data.volume import Volume
    from ..training.checks import CaseFacts, Report, Show
    from ..training.folds import Fold
    from ..training.planning import TrainingPlan

PICTURES = "checks"


@contextmanager
def pictures(work: Path) -> Iterator[Show]:
    """In the ``with`` block, a function that draws a case: slices with its labels, as ``checks/NAME.png``.

    Pictures of an earlier check are replaced.

    Args:
        work: folder of the training.

    Raises:
        OutputError: the folder cannot be written.
    """
    import numpy as np

    from ..results.preview import SOFT_TISSUE_HU, write_preview
    from ..util.atomic_write import atomic_folder
    from ..util.file_names import safe_name

    with atomic_folder(work) as temporary:
        folder = temporary / PICTURES
        folder.mkdir()

        def show(facts: CaseFacts, volume: Volume, label_map: LabelMap) -> None:
            name = safe_name(facts.files.name.replace("/", "_"))
            while (path := folder / f"{name}.png").exists():
                name += "_"
            low, high = np.percentile(volume.array[::2, ::4, ::4], (1, 99)) if facts.not_ct else SOFT_TISSUE_HU
            write_preview(volume, label_map, path, (float(low), max(float(high), float(low) + 1e-6)))

        yield show


def cases_table(report: Report) -> Table:
    """One row per case; images without labels have no structures to tell of."""
    from rich.markup import escape
    from rich.table import Table

    labelled = ["Structures", "Looked for"] if any(facts.voxels for facts in report.cases) else []
    table = Table("Case", "Voxels", "Spacing (mm)", *labelled, "Remark", caption="Voxels and spacing: Z × Y × X.")
    for facts in report.cases:
        found = sum(count > 0 for count in facts.voxels.values())
        asked = (facts.looked_for or frozenset()) & set(report.structures)
        told = str(found), "all" if len(asked) == len(report.structures) else str(len(asked))
        remark = facts.error.message if facts.error is not None else " ".join(facts.warnings)
        table.add_row(
            escape(facts.files.name),
            " × ".join(map(str, facts.shape)),
            " × ".join(f"{s:.3g}" for s in facts.spacing),
            *told[: len(labelled)],
            escape(remark),
        )
    return table


def plan_lines(plan: TrainingPlan, report: Report) -> list[tuple[str, str]]:
    """Name and value of each part of a plan, and how many patients there are if some have several cases."""
    patients, cases = len(report.patients), len(report.cases)
    return [*([("Patients", f"{patients}, with {counted(cases, 'case')}")] if patients < cases else []), *plan.lines()]


def held_out_line(patients: Sequence[Sequence[str]], folds: Sequence[Sequence[str]] | None) -> tuple[str, str]:
    """What is not learnt from, as a line of the plan.

    Args:
        patients: names of the cases of each.
        folds: names of the cases that each holds out; None for a training without folds.
    """
    from ..training.validation import names_held_out

    cases = sum(map(len, patients))
    if folds is not None:
        least, most = min(map(len, folds)), max(map(len, folds))
        return (
            "Held out",
            f"{least if least == most else f'{least} to {most}'} of {counted(cases, 'case')} by each fold",
        )
    if count := len(names_held_out(patients)):
        return "Held out", f"{count} of {counted(cases, 'case')}, for the Dice"
    return "Held out", "none, so there is no Dice: each patient has more than a fifth of the cases"


def plan_table(lines: Sequence[tuple[str, str]]) -> Table:
    """A table of :func:`plan_lines`."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("Plan", "", show_header=False)
    for name, value in lines:
        table.add_row(name, escape(value))
    return table


def folds_table(folds: Sequence[Fold]) -> Table:
    """Dice per structure and fold, and the mean over all cases."""
    from rich.markup import escape
    from rich.table import Table

    from ..training.folds import means

    over_all = means({f"{fold.number} {case}": row for fold in folds for case, row in fold.scores.items()})
    table = Table("Structure", *(f"Fold {fold.number}" for fold in folds), "All cases")
    for name, mean in over_all.items():
        values = [*(fold.means().get(name) for fold in folds), mean]
        table.add_row(escape(name), *("–" if dice is None else f"{dice:.3f}" for dice in values))
    return table
