"""The comparison of two time points of a patient."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..util.errors import InputError, UsageError
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel, share
from ..util.words import Listed, all_of
from .change import Change, change_of
from .lesions import LEAST_ML, groups, is_lesion, lesions_of
from .matching import Seen, matched, on_both
from .registration import Registration, register
from .time_point import TimePoint

_UNSURE = 0.5  # mean Dice after registration below which it is doubtful


@dataclass
class FollowUp:
    """What changed between two time points.

    Attributes:
        changes: of structures, in the baseline's order, each followed by those of its lesions.
        registration: of the baseline to the follow-up.
        days: between them; None if unknown.
        notes: warnings that list no structures, one sentence each.
        unmatched: titles of the structures that only one of them has.
        baseline, follow_up: the time points.
    """

    changes: list[Change]
    registration: Registration
    days: float | None
    baseline: TimePoint
    follow_up: TimePoint
    notes: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """All warnings, one sentence each."""
        return self.warnings_with(all_of)

    def warnings_with(self, listed: Listed) -> list[str]:
        """The warnings, with structures listed in this way."""
        alone = [f"Only one of the scans was segmented for: {listed(self.unmatched)}."] if self.unmatched else []
        return self.notes + alone

    @property
    def interval(self) -> str:
        """The time between them, such as ``"92 days between the scans."``; empty if unknown."""
        return f"{self.span} between the scans." if self.span else ""

    @property
    def span(self) -> str:
        """The same in short: ``"92 days"``, ``"1 day"``."""
        return f"{self.days:g} {'day' if self.days == 1 else 'days'}" if self.days else ""


@checks_arguments
def follow_up(
    baseline: TimePoint,
    follow_up: TimePoint,
    *,
    days: float | None = None,
    deformable: bool = False,
    lesions: Collection[str] | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> FollowUp:
    """Compare two time points of a patient.

    Volumes are those of each scan on its own grid, so registration does not change them. It tells which lesions are the
    same, how far structures moved, and what the pictures show.

    Args:
        days: between the time points; None for the difference of their dates, if both are known.
        deformable: register with a B-spline after the rigid registration, for lesions in organs that breathe or bend.
        lesions: names or titles of structures whose pieces are lesions; None for those whose names say so, such as
            ``liver_lesions``.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        InputError: the time points have no structure in common, or the follow-up is earlier than the baseline.
        UsageError: ``days`` is not positive.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import TimePoint, follow_up, read_label_map
        >>> organs = TimePoint(read_label_map("organs.seg.nrrd"))
        >>> lung = {change.name: change for change in follow_up(organs, organs).changes}["left_lung"]
        >>> lung.title, lung.before_ml == lung.after_ml
        ('left lung', True)
    """
    days = _days(baseline, follow_up, days)
    pairs, warnings = matched(baseline, follow_up)
    matches = on_both(pairs)
    if not matches:
        raise InputError(
            "Baseline and follow-up have no structure in common.",
            "Segment both scans with the same model, or check that they show the same region.",
            code="input.structures",
        )
    check(cancel)
    registration = register(
        baseline, follow_up, matches, deformable=deformable, progress=share(progress, 0, 0.8), cancel=cancel
    )
    warnings += _of_edges("baseline", baseline, [b for b, _ in pairs])
    warnings += _of_edges("follow-up", follow_up, [a for _, a in pairs])
    warnings += registration.notes
    best = max(registration.overlap.values())
    if best < _UNSURE:
        warnings.append(
            f"The registration is doubtful: the common structures overlap by {best:.2f} (mean Dice). Look at the "
            "pictures before you rely on lesions and shifts."
        )
    points, changes = (baseline, follow_up), list[Change]()
    unmatched: list[str] = []
    for number, (b, a) in enumerate(pairs):
        check(cancel)
        progress("register", 0.8 + 0.2 * number / len(pairs), "changes")
        one = a or b
        assert one is not None
        title, name = one.structure.title or one.structure.name, one.structure.name
        if b is None or a is None:
            unmatched.append(title)
            continue
        sides = _there(b), _there(a)
        changes.append(change_of(*sides, points, registration, days, title=title, name=name))
        if is_lesion(one.structure, lesions):
            changes += _of_lesions(b, a, points, registration, days, title, warnings)
    progress("register", 1.0, "")
    return FollowUp(changes, registration, days, baseline, follow_up, warnings, unmatched)


def _of_edges(scan: str, point: TimePoint, structures: list[Seen | None]) -> list[str]:
    """A sentence on structures that count as cut because they end at the edge of a label map without its CT."""
    found = [s for s in structures if s is not None and s.cut and s.structure.name not in point.cut]
    if point.volume is not None or not found:
        return []
    titles = ", ".join(s.structure.title or s.structure.name for s in found)
    return [
        f"The {scan} has no CT, and these end at the edge of its label map, so they count as cut: {titles}. If margins "
        "were left out, they may be whole: its CT would tell."
    ]


def _of_lesions(
    before: Seen,
    after: Seen,
    points: tuple[TimePoint, TimePoint],
    registration: Registration,
    days: float | None,
    title: str,
    warnings: list[str],
) -> list[Change]:
    parts = [lesions_of(p, s.structure) for p, s in zip(points, (before, after), strict=True)]
    small = sum(count for _, count in parts)
    if small:
        warnings.append(f"{title}: pieces below {LEAST_ML} ml are not listed as lesions ({small}).")
    found = groups(parts[0][0], parts[1][0], registration)
    return [
        change_of(g.before, g.after, points, registration, days, title=title, name=before.structure.name, lesion=number)
        for number, g in enumerate(found, 1)
    ]


def _there(one: Seen) -> list[Seen]:
    return [one] if one.row.voxels else []


def _days(baseline: TimePoint, follow_up: TimePoint, days: float | None) -> float | None:
    if days is not None:
        if not 0 < days < float("inf"):
            raise UsageError(f"{days:g} days between the scans is not a positive number.", "Give the days that passed.")
        return days
    if baseline.date is None or follow_up.date is None:
        return None
    passed = (follow_up.date - baseline.date).days
    if passed < 0:
        raise InputError(
            "The follow-up was made before the baseline.",
            "Swap the two, or give the days that passed.",
            code="input.dates",
        )
    return float(passed) or None
