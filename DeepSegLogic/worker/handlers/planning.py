"""The requests that plan on a result, or word its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..job_loop import Job
from .running import classify

if TYPE_CHECKING:
    from ...data.label_map import LabelMap
    from ...data.volume import Volume
    from ...followup.change import Change


def plan(job: Job, *, label_map: LabelMap, entries: dict[str, Any]) -> dict[str, Any]:
    """:func:`DeepSegLogic.planning.evaluate_plan` of a plan with these entries.

    Returns:
        ``numbers``, by kind; ``shapes``: surfaces of the margins, and the distance maps, in a dict as the numbers;
        ``notes``.
    """
    from ...planning import Plan, evaluate_plan
    from ...surfaces import make_surfaces

    done = evaluate_plan(Plan(entries), label_map, job.progress, job.cancel)
    numbers = {kind: done.plan.numbers[kind] for kind in entries} if done.plan.numbers else {}
    known = {s.name for s in label_map.structures}
    margins = [s.name for s in done.label_map.structures if s.name not in known][: len(entries.get("margins", []))]
    surfaces = list(make_surfaces(done.label_map, margins, cancel=job.cancel)) if margins else []
    return {
        "numbers": numbers,
        "shapes": {"margins": surfaces, "distance_maps": list(done.maps)},
        "notes": list(done.notes),
    }


def plan_pictures(
    job: Job, *, label_map: LabelMap, entries: dict[str, Any], folder: str, preset: str
) -> dict[str, Any]:
    """:func:`DeepSegLogic.results.plan_pictures.write_pictures` of a plan with these entries, into ``folder``.

    Returns:
        ``files``, their paths.
    """
    from ...planning import Plan, evaluate_plan
    from ...results.plan_pictures import write_pictures

    done = evaluate_plan(Plan(entries), label_map, job.progress, job.cancel)
    files = write_pictures(done, folder, preset, progress=job.progress, cancel=job.cancel)
    return {"files": [str(path) for path in files]}


def draft(
    job: Job,
    *,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    plan: dict[str, Any] | None,
    changes: list[Change],
    endpoint: dict[str, Any],
    hidden: list[tuple[str, str]],
) -> dict[str, Any]:
    """:func:`DeepSegLogic.drafting.draft.word` of the table of a result.

    Args:
        plan: content of a plan file.
        endpoint: fields of :class:`~DeepSegLogic.drafting.endpoint.Endpoint`.
        hidden: kind and structure of the findings that are left out.

    Returns:
        ``draft``, as :meth:`~DeepSegLogic.results.draft.Draft.as_json` gives it; ``lines`` and ``titles`` of the
        table; ``volumes`` in ml, by name.
    """
    from ...classify import thinned
    from ...drafting.draft import word
    from ...drafting.endpoint import Endpoint
    from ...drafting.table import table_of
    from ...planning.plan_file import plan_in
    from ...results.preview import key_slices, write_preview
    from ...review.measurements import measure
    from ...util.staging import temporary_folder

    rows = measure(label_map, volume, confidence)
    scan = classify(job, volume=thinned(volume))
    table = table_of(
        label_map, rows, confidence=confidence, plan=plan_in(plan), changes=changes, scan=scan, hidden=hidden
    )
    where, picture = Endpoint(**endpoint), None
    if where.pictures:
        with temporary_folder() as folder:
            write_preview(volume, label_map, folder / "preview.png")
            picture = key_slices(folder / "preview.png")
    made = word(table, where, picture, job.progress, job.cancel)
    volumes = {row.name: row.volume_ml for row in rows if row.voxels}
    return {"draft": made.as_json(), "lines": list(table.lines), "titles": dict(table.titles), "volumes": volumes}
