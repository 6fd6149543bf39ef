"""The long task: where it is, and how long it still takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from ..util.errors import DeepSegError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from ..worker import Event

_STAGES = {  # of tasks with several: shares of their time, about
    "segment": {"load model": 0.05, "preprocess": 0.10, "inference": 0.80, "finish": 0.05},
    "second_opinion": {"load model": 0.05, "preprocess": 0.05, "inference": 0.90},
    "segment_enhanced": {"load model": 0.05, "enhance": 0.45, "preprocess": 0.05, "inference": 0.42, "finish": 0.03},
    "detect": {"load model": 0.05, "preprocess": 0.10, "inference": 0.85},
    "adapt": {"read": 0.02, "prepare": 0.03, "train": 0.80, "compare": 0.15},
}
_TITLES = {
    "load model": N_("Loading the model"),
    "preprocess": N_("Preparing the volume"),
    "enhance": N_("Enhancing the CT"),
    "inference": N_("Segmenting"),
    "finish": N_("Finishing"),
    "download": N_("Downloading"),
    "extract": N_("Unpacking"),
    "refine": N_("Correcting"),
    "explain": N_("Explaining"),
    "surfaces": N_("Extracting surfaces"),
    "check": N_("Checking surfaces"),
    "open": N_("Reading"),
    "evaluate": N_("Comparing"),
    "register": N_("Registering"),
    "plan": N_("Planning"),
    "pictures": N_("Drawing pictures"),
    "draft": N_("Drafting"),
    "write": N_("Writing"),
    "upload": N_("Sending"),
    "find": N_("Searching the archive"),
    "fetch": N_("Fetching the series"),
    "send": N_("Sending to the archive"),
    "read": N_("Reading the cases"),
    "prepare": N_("Preparing the cases"),
    "train": N_("Learning"),
    "compare": N_("Comparing before and after"),
    "wait": N_("Waiting"),
}


class Phase(str, Enum):
    """State of the long task."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
class Run:
    """The long task, or the last one.

    Attributes:
        task: ``"segment"``, ``"correct"``, ``"compare"``, ``"follow_up"``, ``"explain"``, ``"second_opinion"``,
            ``"detect"``, ``"export_findings"``, ``"plan"``, ``"pictures"``, ``"draft"``, ``"open"``, ``"install"``,
            ``"export"``, ``"connect"``, of the archive ``"find"``, ``"fetch"`` or ``"send"``, or of learning from
            corrections ``"collect"``, ``"adapt"``, ``"accept"`` or ``"back"``; empty before the first.
        fraction: of the whole task, 0 to 1.
        stage, message: in words.
        remaining_s: seconds, about; None while unknown.
        error: of a failed one.
        warnings: of this task, one sentence each.
        summary: what to show when it is done.
        frame: which one of a time sequence it is, from 1, and of how many; the fraction is that of the sequence.
            The remaining time is the frame's.
    """

    task: str = ""
    phase: Phase = Phase.IDLE
    fraction: float = 0.0
    stage: str = ""
    message: str = ""
    remaining_s: float | None = None
    error: DeepSegError | None = None
    warnings: list[str] = field(default_factory=list)
    summary: str = field(default_factory=lambda: _("Done."))
    frame: tuple[int, int] | None = None
    _stages: str = ""  # what the shares of the stages are those of, if not the task
    _clock: tuple[float, float] = (0.0, 0.0)  # when the stage began, and at which fraction

    @property
    def busy(self) -> bool:
        """Whether it is still running."""
        return self.phase in (Phase.RUNNING, Phase.CANCELLING)

    @property
    def why_wait(self) -> str:
        """Why another one cannot start, in words; empty when it can."""
        return _("Wait for the running task.") if self.busy else ""

    @property
    def asks_estimate(self) -> bool:
        """Whether it ended, and the next run has to be estimated anew."""
        ended = self.phase in (Phase.DONE, Phase.CANCELLED)
        return ended and self.task in ("segment", "install", "accept", "back")

    def advance(self, event: Event) -> None:
        """Take in a progress event."""
        if event.stage == "enhance":
            self._stages = "segment_enhanced"
        total, shares = event.fraction, _STAGES.get(self._stages or self.task, {})
        if event.stage in shares:
            order = list(shares)
            before = sum(shares[stage] for stage in order[: order.index(event.stage)])
            total = before + shares[event.stage] * event.fraction
        stage = _(_TITLES.get(event.stage, event.stage.capitalize()))
        if stage != self.stage:
            self._clock = (time.monotonic(), event.fraction)
        if self.frame is not None:
            number, count = self.frame
            total = (number - 1 + total) / count
        self.fraction = max(self.fraction, total) if shares else total
        self.stage, self.message = stage, event.message
        self.remaining_s = self._remaining(event)

    def _remaining(self, event: Event) -> float | None:
        """From the pace of the stage that takes nearly all the time."""
        began, first = self._clock
        gone, done = time.monotonic() - began, event.fraction - first
        paced = ("enhance", "inference", "download", "fetch", "train")
        if event.stage not in paced or done < 0.02 or gone < 1.0 or event.fraction >= 1:
            return None
        return gone * (1 - event.fraction) / done
