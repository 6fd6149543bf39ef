"""The worker's answers about a result: why the model says so, and what another one, or variants of it, would say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..job_loop import Job

if TYPE_CHECKING:
    from ...data.label_map import LabelMap
    from ...data.volume import Volume
    from ...review.attribution import Attribution, Method


def explain(
    job: Job,
    *,
    volume: Volume,
    model: str,
    structure: str,
    method: Method,
    device: str = "auto",
    at: list[float] | None = None,
    label_map: LabelMap | None = None,
) -> Attribution:
    """:func:`DeepSegLogic.review.attribution.explain` with a model that is loaded for this.

    Args:
        model: id or folder.
        at: None for a place well inside the structure in ``label_map``.
    """
    from ...models import find_model, load_model
    from ...review.attribution import explain as run
    from ...review.attribution import place_in
    from ...util.errors import UsageError

    if at is None and label_map is None:
        raise UsageError("There is no place to explain.", "Name one, in RAS mm.", code="usage.place")
    place = place_in(label_map, structure) if at is None and label_map is not None else tuple(at or ())
    job.progress("load model", 0.0, model)
    loaded = load_model(find_model(model))
    options: dict[str, Any] = {"method": method, "device": device, "progress": job.progress, "cancel": job.cancel}
    return run(volume, loaded, structure, place, **options)


def second_opinion(
    job: Job, *, volume: Volume, label_map: LabelMap, model: str, other: str, device: str = "auto", quality: str
) -> dict[str, Any]:
    """Segment again, and compare with a label map: :mod:`DeepSegLogic.review.disagreement`.

    Args:
        model: that made the label map.
        other: another model, or one of :data:`~DeepSegLogic.review.members.VARIATIONS` of the same.

    Returns:
        ``rows``, a list of :class:`~DeepSegLogic.review.disagreement.Disagreement`; ``map``, (K, J, I) uint8;
        ``other``, the label map of the other model, or what most variants say.
    """
    from ...models import find_model, load_model
    from ...review.disagreement import disagreement_map, disagreements, voted
    from ...review.members import VARIATIONS, members
    from ...segmentation import segment
    from ...util.progress import share

    variation = next((v for v in VARIATIONS if v == other), None)
    job.progress("load model", 0.0, model if variation else other)
    first = load_model(find_model(model if variation else other))
    asked = [one for one in members(first, variation) if one is not first] if variation else [first]
    opinions = [label_map]
    for number, one in enumerate(asked):
        told = share(job.progress, number / len(asked), (number + 1) / len(asked))
        options: dict[str, Any] = {"device": device, "quality": quality, "force": True, "cancel": job.cancel}
        opinions.append(segment(volume, one, progress=told, **options).label_map)
    best = voted(opinions) if variation else opinions[1]
    return {"rows": disagreements(opinions), "map": disagreement_map(opinions), "other": best}
