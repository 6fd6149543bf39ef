"""Numbers and states of the session in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..data.terminology import structure_for
from ..models.card import ModelCard
from ..remote.known import WHAT_LEAVES
from ..util.errors import Action
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from ..util.words import signed_text, size_text
from .chosen import Estimate
from .model_list import ModelEntry
from .task import Phase, Run

if TYPE_CHECKING:
    from ..adaptation.offer import Offer
    from ..detection.finding import BoxFinding
    from ..evaluation.scoring import Score
    from ..followup.change import Change

MOST_FILES = 8  # that a question names
NAMED = 3  # structures that a comparison names

_ROLES = {
    "held_out": N_("Held out"),
    "learnt": N_("Learnt from"),
    "kept": N_("Not corrected, as before"),
}


def time_text(seconds: float) -> str:
    """e.g. ``"40 s"``, ``"2 min"``."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def estimate_text(estimate: Estimate | None) -> str:
    """What a run will need; empty while unknown."""
    if estimate is None:
        return ""
    facts = {
        "time": time_text(estimate.seconds),
        "device": estimate.device.upper(),
        "memory": size_text(estimate.ram_bytes),
        "gpu": size_text(estimate.device_bytes),
    }
    if estimate.device_bytes:
        text = _("About {time} on {device}, {memory} of memory, {gpu} on the GPU").format_map(facts)
    else:
        text = _("About {time} on {device}, {memory} of memory").format_map(facts)
    return _("{}; less once the region is found").format(text) if estimate.at_most else text


def install_question(entry: ModelEntry) -> str:
    """What to know before a model is downloaded, with those that it needs, in lines."""
    lines = []
    for card in entry.missing:
        if card.id != entry.card.id:
            lines += ["", _("{} needs another model:").format(entry.card.title)]
        lines += [
            _("{title} will be downloaded from {source}.").format(title=card.title, source=card.source),
            _("Size: {}").format(size_text(card.download_bytes)),
            _("Licence: {}").format(card.licence),
            f"{card.intended_use} {card.unstated_digests}".rstrip(),
        ]
    return "\n".join(lines).strip()


def remove_question(entry: ModelEntry) -> str:
    """What to know before a model is removed."""
    size = size_text(entry.size_bytes)
    return _("Delete {title} ({size}) from this machine?").format(title=entry.card.title, size=size)


def trust_question(card: ModelCard) -> str:
    """What to know before a model that contains code is trusted, in lines."""
    from ..models.trust import code_files

    files = [path.as_posix() for path in code_files(card)]
    more = len(files) - MOST_FILES
    lines = [
        _("{} contains code:").format(card.title),
        *files[:MOST_FILES],
        *([_("and {} more files").format(more)] if more > 0 else []),
        "",
        _("If you trust it, this code runs with your rights: it can read, change and send your files."),
        _("DeepSeg does not check it. Trust it only if you know where it comes from."),
        _("The trust ends when a file of the model changes."),
    ]
    return "\n".join(lines)


def place_question(url: str) -> str:
    """What to know before runs happen on a server, in lines."""
    return "\n".join([_("Run on {url}?").format(url=url), _(WHAT_LEAVES).format(url=url)])


def collect_question(place: str, name: str, structures: Sequence[str]) -> str:
    """What to know before a corrected case is collected, in lines."""
    return "\n".join(
        [
            _("Keep a copy of {name} and of its corrected labels, so that the model can learn from it?").format(
                name=name
            ),
            _("It is a patient's image. It stays in {} until you remove it, and is sent nowhere.").format(place),
            _("Learnt: {}.").format(titles(structures)),
        ]
    )


def titles(structures: Sequence[str]) -> str:
    """Structures for people, from their names."""
    return ", ".join(structure_for(name, 1).title for name in structures)


def offer_rows(offer: Offer) -> list[tuple[str, str, str, str, str]]:
    """The table before and after: kind of comparison, structure, number of cases, Dice before and after."""
    return [
        (
            _(_ROLES[row.role]),
            structure_for(row.structure, 1).title,
            str(row.cases),
            f"{row.before:.3f}" if row.role != "kept" else "–",
            f"{row.after:.3f}",
        )
        for row in offer.rows
    ]


def remaining_text(run: Run) -> str:
    """How long the long task still takes; empty while unknown."""
    return "" if run.remaining_s is None else _("about {} left").format(time_text(run.remaining_s))


def run_text(run: Run, words: Mapping[Action, str]) -> str:
    """The state of the long task, in one line.

    Args:
        words: see :meth:`DeepSegError.remedy_in`.
    """
    if run.phase is Phase.RUNNING:
        left = remaining_text(run)
        if run.frame is None:
            return ", ".join(filter(None, (run.stage, left)))
        number, count = run.frame
        left = left and _("{} for this frame").format(left)
        stage = ", ".join(filter(None, (run.stage, left)))
        return _("Frame {number} of {count}: {stage}").format(number=number, count=count, stage=stage)
    if run.error is not None and run.phase is Phase.FAILED:
        return f"{run.error.message} {run.error.remedy_in(words)}".strip()
    endings = {Phase.CANCELLING: _("Cancelling"), Phase.CANCELLED: _("Cancelled."), Phase.DONE: run.summary}
    return endings.get(run.phase, "")


def comparison_text(scores: Sequence[Score]) -> str:
    """A comparison with a reference: mean Dice, and where it is lowest."""
    known = sorted((s for s in scores if math.isfinite(s.values["dice"])), key=lambda s: s.values["dice"])
    mean = sum(s.values["dice"] for s in known) / max(1, len(known))
    text = _("Mean Dice {mean}; structures: {count}.").format(mean=f"{mean:.3f}", count=len(known))
    lowest = ", ".join(f"{s.title} {s.values['dice']:.3f}" for s in known[:NAMED])
    return f"{text} {_('Lowest: {}.').format(lowest)}" if len(known) > NAMED else text


def changes_text(changes: Sequence[Change], interval: str) -> str:
    """A comparison with an earlier scan: how many changes are certain, the time between, and the largest changes.

    Args:
        interval: see :attr:`DeepSegLogic.followup.follow_up.FollowUp.interval`.
    """
    certain = [c for c in changes if c.clear]
    counted = _("{} of {} changes exceed the uncertainty.").format(len(certain), len(changes))
    largest = sorted(certain, key=lambda c: -abs(math.inf if c.change_percent is None else c.change_percent))
    named = ", ".join(map(_change, largest[:NAMED]))
    return " ".join(filter(None, (counted, interval, named and _("Largest: {}.").format(named))))


def _change(change: Change) -> str:
    if change.change_percent is None:
        return f"{change.full_title} ({change.note})"
    return f"{change.full_title} {signed_text(change.change_percent)} %"


def finding_row(finding: BoxFinding, number: int) -> tuple[str, str, str, str]:
    """A lesion that was found, as cells of a table: number and kind, size, score, decision."""
    decision = {"open": "", "accepted": _("accepted"), "rejected": _("rejected")}[finding.state]
    size = " × ".join(f"{mm:.0f}" for mm in finding.size_mm)
    return f"{number} {finding.kind.replace('_', ' ')}", size, f"{finding.score:.2f}", decision
