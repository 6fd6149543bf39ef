"""What a detector finds: boxes along the axes R, A and S, in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from ..data.label_map import LabelMap
from ..data.run_record import Provenance
from ..data.types import FloatArray

State: TypeAlias = Literal["open", "accepted", "rejected"]
"""What a person decided about a finding; ``"open"``: nothing yet."""

STATES: tuple[State, ...] = ("open", "accepted", "rejected")
Position: TypeAlias = tuple[float, float, float]
"""R, A, S in mm."""


@dataclass(frozen=True)
class BoxFinding:
    """A lesion as a box.

    Attributes:
        kind: name of what was found, e.g. ``"lung_nodule"``.
        score: of the model, 0 to 1. It ranks findings; it is no probability.
        low, high: the corners with the smallest and largest R, A and S, in mm.
        state: what a person decided.
        segment: name of its structure in :attr:`BoxFindings.masks`; empty if it has no mask.

    Example:
        >>> from DeepSegLogic import BoxFinding
        >>> nodule = BoxFinding("lung_nodule", 0.9, (-60.0, 10.0, 100.0), (-50.0, 18.0, 106.0))
        >>> nodule.center_ras, nodule.size_mm
        ((-55.0, 14.0, 103.0), (10.0, 8.0, 6.0))
    """

    kind: str
    score: float
    low: Position
    high: Position
    state: State = "open"
    segment: str = ""

    @property
    def center_ras(self) -> Position:
        """The middle, in mm."""
        return _triple((np.array(self.low) + self.high) / 2)

    @property
    def size_mm(self) -> Position:
        """The edges along R, A and S."""
        return _triple(np.array(self.high) - self.low)

    def decided(self, state: State) -> BoxFinding:
        """The same finding in another state."""
        return replace(self, state=state)


@dataclass
class BoxFindings:
    """What was found in one volume.

    Attributes:
        findings: highest score first.
        warnings: one sentence each.
        provenance: model, settings, device and versions.
        masks: the findings as structures on the volume's grid, if the model draws them.
    """

    findings: list[BoxFinding]
    warnings: list[str] = field(default_factory=list)
    provenance: Provenance = field(default_factory=Provenance)
    masks: LabelMap | None = None


def corners(findings: Sequence[BoxFinding]) -> FloatArray:
    """The boxes (N, 6): R, A, S of the low corners, then of the high ones, in mm."""
    return np.array([[*f.low, *f.high] for f in findings], float).reshape(-1, 6)


def _triple(numbers: FloatArray) -> Position:
    r, a, s = (float(x) for x in numbers)
    return r, a, s
