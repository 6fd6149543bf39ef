"""What a language model is told about a result: a table in words, without a name or date of the patient."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..classify import Scan
from ..data.label_map import LabelMap, Structure
from ..data.terminology import known_titles
from ..followup.change import Change
from ..planning import Plan, evaluate_plan
from ..planning.texts import lines
from ..review.findings import Hidden, review, without
from ..review.measurements import Measurement, hu_text

_MOST = 300  # structures, the largest
_SOURCE = re.compile(r" \([^()]*, \d{4}\)")  # of a plausible range: its year is no measurement


@dataclass(frozen=True)
class Table:
    """A result in words.

    Attributes:
        lines: one fact each, such as ``"Liver: volume 1503.4 ml, mean 54 HU"``.
        titles: of the structures that the lines are about, as in the lines → as in the result.
        notes: what is missing, one sentence each.
    """

    lines: tuple[str, ...]
    titles: Mapping[str, str]
    notes: tuple[str, ...] = ()


def table_of(
    label_map: LabelMap,
    measurements: Sequence[Measurement],
    *,
    confidence: dict[str, float] | None = None,
    plan: Plan | None = None,
    changes: Sequence[Change] = (),
    scan: Scan | None = None,
    hidden: Hidden = (),
) -> Table:
    """The table of a result: volumes and densities, changes, what was planned, what to check first.

    Args:
        label_map, measurements, confidence: of the result.
        plan: of an operation on it; numbers that are missing or no longer hold are computed.
        changes: since an earlier scan.
        scan: what the volume is, see :func:`~DeepSegLogic.review.findings.review`.
        hidden: findings that are left out.

    Raises:
        DeepSegError: an entry of the plan cannot be computed.

    Example:
        >>> from DeepSegLogic import measure, read_label_map, read_volume
        >>> from DeepSegLogic.drafting.table import table_of
        >>> organs = read_label_map("organs.seg.nrrd")
        >>> table_of(organs, measure(organs, read_volume("ct.nrrd"))).lines[5]
        'Left lung: volume 1879.5 ml, mean −835 HU'
    """
    titles, notes = _Titles(label_map.structures), list[str]()
    found = [row for row in measurements if row.voxels]
    if len(found) > _MOST:
        notes.append(f"The draft is about the {_MOST} largest of {len(found)} structures.")
        found = sorted(found, key=lambda row: -row.volume_ml)[:_MOST]
    cut = [row.title for row in found if row.cut]
    if cut:
        notes.append(f"Cut by the field of view, so that their volumes are lower bounds: {', '.join(cut)}.")
    told = [_measured(titles[row.name], row) for row in found]
    for change in changes:
        lesion = f", lesion {change.lesion}" if change.lesion else ""
        told.append(f"{titles[change.name]}{lesion}, since the earlier scan: {change.sentence}")
    told += _planned(plan, label_map, titles) if plan is not None else []
    named = _renamed(label_map, titles)
    told += [
        f"To check: {_SOURCE.sub('', finding.reason)}" for finding in without(review(named, confidence, scan), hidden)
    ]
    real = {s.name: s.title for s in label_map.structures}
    used = {title: real.get(name) or title for name, title in titles.used.items()}
    return Table(tuple(told), used, tuple(notes))


class _Titles(Mapping[str, str]):
    """Titles by which the model knows structures, by their names.

    A structure of the terminology has its title there. Another one may be named by anybody, after the patient or with
    orders to the model, so it goes as "Structure 1", "Structure 2" and so on.
    """

    def __init__(self, structures: Sequence[Structure]) -> None:
        self.used: dict[str, str] = {}
        self._known = known_titles()
        self._names = {called: s.name for s in structures for called in (str(s.value), s.title, s.name)}

    def __getitem__(self, called: str) -> str:
        name = self._names.get(called, called)
        if name not in self.used:
            made = sum(known not in self._known for known in self.used)
            self.used[name] = self._known.get(name) or f"Structure {made + 1}"
        return self.used[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.used)

    def __len__(self) -> int:
        return len(self.used)


def _measured(title: str, row: Measurement) -> str:
    least, cut = ("at least ", " (cut by the field of view)") if row.cut else ("", "")
    mean = f", mean {hu_text(row.mean_hu)} HU" if row.mean_hu is not None else ""
    return f"{title}: volume {least}{row.volume_ml:.1f} ml{cut}{mean}"


def _planned(plan: Plan, label_map: LabelMap, titles: _Titles) -> list[str]:
    checked = plan.checked(label_map)
    numbers = (evaluate_plan(plan, label_map).plan if checked.stale else checked).numbers or {}
    told = []
    for line in (lines(kind, one, titles) for kind in plan.entries for one in numbers[kind]):
        told.append(f"{line.title}: {line.value}")
        told += [f"{line.title}: {detail.title}: {detail.value}" for detail in line.details]
    return told


def _renamed(label_map: LabelMap, titles: _Titles) -> LabelMap:
    """A label map whose structures have the titles that the model knows."""
    structures = [replace(s, title=titles[s.name]) for s in label_map.structures]
    return replace(label_map, structures=structures, layers=[_renamed(layer, titles) for layer in label_map.layers])
