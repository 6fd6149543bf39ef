"""The change of a structure or lesion between two time points, in numbers and in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..data.affine import ras_to_ijk
from ..review.field_of_view import bounded
from ..util.words import counted
from .matching import Seen
from .registration import Registration
from .time_point import TimePoint

Kind: TypeAlias = Literal["changed", "unclear", "cut", "new", "gone", "merged", "split", "unseen"]
"""Beyond the uncertainty; within it; cut by the field of view; at one time only; lesions that merged or split; at a
place that the other scan does not show."""

_NOTES: dict[Kind, str] = {
    "changed": "",
    "unclear": "within the uncertainty",
    "cut": "cut by the field of view: lower bound",
    "new": "only in the follow-up",
    "gone": "only in the baseline",
    "merged": "merged",
    "split": "split",
    "unseen": "outside the other scan",
}

_NEGLIGIBLE_ML = 5e-4


@dataclass(frozen=True)
class Change:
    """A structure or lesion at two times.

    Attributes:
        name, title: of the structure.
        lesion: number of the lesion, the largest first; 0 for a whole structure.
        kind: see :data:`Kind`.
        before_ml, after_ml: volumes, 0 where it is not there.
        change_ml, change_percent: None where the field of view cuts it, or it is not in it; percent also where it is
            new.
        uncertainty_ml: of the change, see :func:`uncertainty_ml`.
        doubling_days: time in which it doubles at this rate; negative: in which it halves; None without the number of
            days, or where the volume did not change beyond the uncertainty.
        before_hu, after_hu: mean HU; None without the scan.
        shift_mm: distance of the centres after the rigid registration.
        cut_before, cut_after: whether the field of view cuts it, so that the volume is a lower bound.
    """

    name: str
    title: str
    lesion: int
    kind: Kind
    before_ml: float
    after_ml: float
    change_ml: float | None
    change_percent: float | None
    uncertainty_ml: float
    doubling_days: float | None
    before_hu: float | None
    after_hu: float | None
    shift_mm: float | None
    cut_before: bool
    cut_after: bool

    @property
    def sentence(self) -> str:
        """The change in words, such as ``"15.7 ml → 18.2 ml, +15.9 %"``."""
        before, after = (
            bounded(f"{_ml(ml)} ml", cut)
            for ml, cut in ((self.before_ml, self.cut_before), (self.after_ml, self.cut_after))
        )
        if self.kind == "unseen":
            which = ("follow-up", after) if self.after_ml else ("baseline", before)
            return f"{which[1]} in the {which[0]}; outside the field of view of the other scan"
        if self.kind == "new":
            return f"only in the follow-up: {after}"
        if self.kind == "gone":
            return f"only in the baseline: {before}"
        text = f"{before} → {after}"
        if self.change_percent is None or self.change_ml is None:
            scans = " and ".join(
                name for name, cut in (("baseline", self.cut_before), ("follow-up", self.cut_after)) if cut
            )
            return f"{text}; cut by the field of view in the {scans}, so that the change is unknown"
        text += f", {round(self.change_percent, 1) + 0.0:+.1f} %"
        if abs(self.change_ml) <= self.uncertainty_ml:
            text += f", within the uncertainty of ±{_ml(self.uncertainty_ml)} ml"
        if self.doubling_days is not None:
            word = "doubles" if self.doubling_days > 0 else "halves"
            text += f", {word} in {counted(round(abs(self.doubling_days)), 'day')}"
        return text + {"merged": ", merged", "split": ", split"}.get(self.kind, "")

    @property
    def clear(self) -> bool:
        """Whether it is known, and beyond the uncertainty."""
        return self.kind not in ("unclear", "cut", "unseen")

    @property
    def note(self) -> str:
        """What a table says of its kind; empty for a plain change."""
        return _NOTES[self.kind]

    @property
    def full_title(self) -> str:
        """The title, with the number of the lesion."""
        return f"{self.title} {self.lesion}" if self.lesion else self.title


def change_of(
    before: list[Seen],
    after: list[Seen],
    points: tuple[TimePoint, TimePoint],
    registration: Registration,
    days: float | None,
    *,
    title: str,
    name: str,
    lesion: int = 0,
) -> Change:
    """The change from what the baseline shows to what the follow-up shows; both lists may have several lesions.

    Args:
        points: baseline and follow-up.
        days: between them; None if unknown.
    """
    v0, v1 = (sum(s.row.volume_ml for s in side) for side in (before, after))
    cuts = [any(s.cut for s in side) for side in (before, after)]
    uncertainty = math.hypot(*(uncertainty_ml(s) for s in (*before, *after)))
    kind = _kind(before, after, points, registration, uncertainty)
    known = kind not in ("cut", "unseen") and not any(cuts)
    change = v1 - v0 if known else None
    percent = 100 * change / v0 if change is not None and v0 else None
    rates = days and v0 and v1 and change is not None and abs(change) > max(uncertainty, _NEGLIGIBLE_ML)
    return Change(
        name,
        title,
        lesion,
        kind,
        v0,
        v1,
        change,
        percent,
        uncertainty,
        days * math.log(2) / math.log(v1 / v0) if rates and days else None,
        _mean_hu(before),
        _mean_hu(after),
        _shift(before, after, registration) if not any(cuts) else None,
        *cuts,
    )


def uncertainty_ml(one: Seen) -> float:
    """How far a volume may be off, ml.

    Half the volume of the voxels at the border: the border is known to half a voxel. Where the confidence is known, the
    volume of the voxels that are expected to be wrong by the model's own probabilities is joined in squares. It is a
    rule of thumb for one reading, not an interval of repeated ones.
    """
    confidence = one.row.confidence
    doubt = 0.0 if confidence is None else max(0.0, 1 - confidence) * one.row.volume_ml
    return math.hypot(one.border_ml / 2, doubt)


def _kind(
    before: list[Seen],
    after: list[Seen],
    points: tuple[TimePoint, TimePoint],
    registration: Registration,
    uncertainty: float,
) -> Kind:
    if not before or not after:
        alone = (before or after)[0]
        assert alone.centre is not None
        if before:
            place = registration.to_follow_up(alone.centre[None])
        else:
            place = registration.to_baseline(alone.centre[None])
        if not _shows(points[1] if before else points[0], place):
            return "unseen"
        return "gone" if before else "new"
    if any(s.cut for s in (*before, *after)):
        return "cut"
    if len(before) > 1:
        return "merged"
    if len(after) > 1:
        return "split"
    change = abs(after[0].row.volume_ml - before[0].row.volume_ml)
    return "changed" if change > uncertainty else "unclear"


def _shows(point: TimePoint, place: np.ndarray) -> bool:
    """Whether a place (1, 3), RAS mm, is in the field of view."""
    ijk = ras_to_ijk(place, point.label_map.ijk_to_ras)[0]
    return bool(((ijk > -0.5) & (ijk < np.array(point.label_map.shape_ijk) - 0.5)).all())


def _mean_hu(side: list[Seen]) -> float | None:
    known = [(s.row.mean_hu * s.row.volume_ml, s.row.volume_ml) for s in side if s.row.mean_hu is not None]
    return sum(hu for hu, _ in known) / sum(ml for _, ml in known) if known else None


def _shift(before: list[Seen], after: list[Seen], registration: Registration) -> float | None:
    if not before or not after:
        return None
    centres = [
        np.average([s.centre for s in side if s.centre is not None], axis=0, weights=[s.row.volume_ml for s in side])
        for side in (before, after)
    ]
    return float(np.linalg.norm(registration.to_follow_up(centres[0][None])[0] - centres[1]))


def _ml(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"
