"""A plan computed for a segmentation: numbers, parts, and their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..data.label_map import LabelMap
from ..io.result_files import facts_of_files, unchanged_files
from ..io.write import write_label_map
from ..surfaces.export import write_surfaces
from ..util.atomic_write import atomic_folder
from ..util.errors import DeepSegError, UsageError
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.tables import write_table
from .approaches import approach
from .center_lines import vessel_diameters
from .distance_maps import DistanceMap, distance_map, write_distance_map
from .distances import contact, diameters, distance
from .encasements import encasement
from .margins import Margin, margin, with_margin
from .plan_file import KINDS, Plan, cut_of, digest_of, write_plan
from .resections import Organ

PLAN_FILE = "plan.json"
NUMBERS_FILE = "numbers.csv"
PARTS_FILE = "parts.seg.nrrd"
PROVENANCE_FILE = "plan.provenance.json"  # sizes and digests of the files; a segmentation has its own
SURFACES_FOLDER = "plan_surfaces"  # the folder may also hold a segmentation, with its own `surfaces`


@dataclass(frozen=True)
class EvaluatedPlan:
    """What came out of a plan.

    Attributes:
        plan: with its numbers.
        label_map: the segmentation, in which the parts of each divided organ stand in its place, and each margin is a
            structure that overlaps others.
        maps: of the distance maps, in their order.
        notes: what limits the numbers, one sentence each.
    """

    plan: Plan
    label_map: LabelMap
    maps: tuple[DistanceMap, ...]
    notes: tuple[str, ...]


@checks_arguments
def evaluate_plan(
    plan: Plan, label_map: LabelMap, progress: Progress = ignore_progress, cancel: Cancel = never_cancel
) -> EvaluatedPlan:
    """Compute all numbers and parts of a plan.

    Args:
        plan: from :func:`~DeepSegLogic.read_plan`.
        label_map: the segmentation; it is not changed.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        DeepSegError: an entry cannot be computed; the message names it.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Plan, Structure, evaluate_plan
        >>> array = np.zeros((10, 10, 12), np.uint8)  # (K, J, I)
        >>> array[1:9, 1:9, 1:11] = 1
        >>> liver = LabelMap(array, np.eye(4), [Structure(1, "liver", "Liver")])
        >>> cut = {"type": "plane", "origin": [6.5, 0, 0], "normal": [1, 0, 0]}
        >>> done = evaluate_plan(Plan({"resections": [{"organ": "liver", "cuts": [cut]}]}), liver)
        >>> done.plan.numbers["resections"][0]["remnant_percent"]
        60.0
    """
    result, numbers, notes, maps = label_map, dict[str, Any](), list[str](), list[DistanceMap]()
    entries = [(kind, number, e) for kind in KINDS for number, e in enumerate(plan.entries.get(kind, []), start=1)]
    for done, (kind, number, entry) in enumerate(entries):
        check(cancel)
        progress("plan", done / len(entries), kind)
        try:
            found, result = _COMPUTED[kind](entry, label_map, result)
        except DeepSegError as error:
            error.message = f"Plan, {kind} {number}: {error.message}"
            raise
        numbers.setdefault(kind, []).append(as_json(found))
        notes += found.notes
        maps += [found] if isinstance(found, DistanceMap) else []
    progress("plan", 1.0, "")
    numbers = {"digest": digest_of(label_map), "stale": False, **numbers}
    return EvaluatedPlan(replace(plan, numbers=numbers), result, tuple(maps), tuple(dict.fromkeys(notes)))


def write_evaluated(
    evaluated: EvaluatedPlan,
    folder: Path | str,
    formats: Sequence[str] = ("stl",),
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    also: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write a computed plan, all files or none.

    The files are ``plan.json`` (with the numbers), ``numbers.csv``, ``parts.seg.nrrd``, ``distance_map_1.vtp`` and
    so on, and in ``plan_surfaces`` the closed surfaces of all structures, which share their boundaries. Files of an
    earlier plan in the folder that this one does not replace are removed, unless they were changed since.

    Args:
        formats: keys of :data:`~DeepSegLogic.surfaces.FORMATS`; none for no surfaces.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.
        also: writes further files, into the folder that it is given.

    Raises:
        UsageError: an unknown format.
        OutputError: a file cannot be written.
        ResourceError: not enough memory.
        Cancelled: ``cancel`` returned True.
    """
    folder = Path(folder)
    names = [PARTS_FILE, NUMBERS_FILE, PLAN_FILE]
    outdated = unchanged_files(folder, PROVENANCE_FILE)
    with atomic_folder(folder, last=PROVENANCE_FILE, outdated=outdated) as temporary:
        write_label_map(evaluated.label_map, temporary / PARTS_FILE)
        header = ["kind", "entry", "subject", "quantity", "value", "notes"]
        write_table(temporary / NUMBERS_FILE, header, _rows(evaluated.plan.numbers or {}))
        for number, found in enumerate(evaluated.maps, start=1):
            names.insert(number - 1, f"distance_map_{number}.vtp")
            write_distance_map(found, temporary / names[number - 1])
        if formats:
            write_surfaces(evaluated.label_map, temporary / SURFACES_FOLDER, formats, progress=progress, cancel=cancel)
            names.insert(0, SURFACES_FOLDER)
        write_plan(evaluated.plan, temporary / PLAN_FILE)
        if also is not None:
            also(temporary)
        facts = {"files": facts_of_files(temporary)}
        (temporary / PROVENANCE_FILE).write_text(json.dumps(facts, indent=1), "utf-8")
    return [folder / name for name in names]


_Computed = tuple[Any, LabelMap]
"""What was found for an entry, and the label map with its parts."""


def _resection(entry: dict[str, Any], label_map: LabelMap, result: LabelMap) -> _Computed:
    organ = Organ(label_map, entry["organ"])
    cuts = [cut_of(cut) for cut in entry["cuts"]]
    found = organ.cut(cuts, entry.get("removed", [1]))
    if organ.structure not in result.structures:
        raise UsageError(
            f"{organ.structure.title or organ.structure.name} is divided twice.",
            "Join its cuts in one resection, or make two plans.",
            code="usage.plan",
        )
    return found, Organ(result, organ.structure.name).divided(cuts)


def _margin(entry: dict[str, Any], label_map: LabelMap, result: LabelMap) -> _Computed:
    found = margin(label_map, entry["structure"], float(entry["mm"]), keep=entry.get("keep", []))
    return found, with_margin(result, found)


def _number(function: Callable[..., Any]) -> Callable[[dict[str, Any], LabelMap, LabelMap], _Computed]:
    """What computes an entry whose keys are the function's parameters, and makes no parts."""
    return lambda entry, label_map, result: (function(label_map, **entry), result)


_COMPUTED: dict[str, Callable[[dict[str, Any], LabelMap, LabelMap], _Computed]] = {
    "distances": _number(distance),
    "distance_maps": _number(distance_map),
    "contacts": _number(contact),
    "encasements": _number(encasement),
    "diameters": _number(diameters),
    "vessels": _number(vessel_diameters),
    "margins": _margin,
    "resections": _resection,
    "approaches": _number(approach),
}


def as_json(found: Any) -> dict[str, Any]:
    """A result as plain JSON values, as they are read back."""
    numbers = found.as_json() if isinstance(found, DistanceMap | Margin) else asdict(found)
    plain: dict[str, Any] = json.loads(json.dumps(numbers))
    return plain


def _rows(numbers: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    """One row per number of the table."""
    for kind in KINDS:
        for number, entry in enumerate(numbers.get(kind, []), start=1):
            for subject, quantity, value in _flat(entry):
                yield kind, number, subject, quantity, round(value, 4), " ".join(entry["notes"])


def _flat(entry: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, float]]:
    """Structures, quantity and value of all measurements in an entry, also of its parts."""
    subject = ", ".join(filter(None, [above, *(v for v in entry.values() if isinstance(v, str))]))
    for key, value in entry.items():
        if isinstance(value, list):
            for inner in value:
                if isinstance(inner, dict):
                    yield from _flat(inner, subject)
        elif isinstance(value, int | float) and not isinstance(value, bool) and key != "number":
            yield subject, key, value
