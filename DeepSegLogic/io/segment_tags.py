"""What DeepSeg stores as tags on the segments that it makes, so that a saved scene keeps it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..data.run_record import Provenance

PREFIX = "DeepSeg."
"""Of the tags' names in files and in 3D Slicer."""

UNKNOWN = "unknown"
"""Model of segments that DeepSeg did not make."""

PLAN = PREFIX + "plan"
"""Attribute of the segmentation's node in a scene: the content of a plan file."""

NAMES = (
    "structure",
    "model",
    "version",
    "quality",
    "deepseg",
    "created",
    "confidence",
    "boundary_margin",
    "ignored",
    "corrector",
)
"""All tags, without the prefix."""


@dataclass
class StoredFacts:
    """What is known of a stored result beside its voxels.

    Attributes:
        provenance: of the run that made the segments; the model is :data:`UNKNOWN` for other segments.
        confidence, boundary_margin: by structure; see ``DeepSegLogic.segmentation.Result``.
        ignored: kind and structure of the findings that the user hid.
        corrector: id of the model that made corrections; empty for the solver.
    """

    provenance: Provenance = field(default_factory=Provenance)
    confidence: dict[str, float] = field(default_factory=dict)
    boundary_margin: dict[str, float] = field(default_factory=dict)
    ignored: set[tuple[str, str]] = field(default_factory=set)
    corrector: str = ""


def stored_facts(segments: Sequence[dict[str, str]]) -> StoredFacts:
    """What the tags of a segmentation say; what is missing or not understood is left out.

    Args:
        segments: the tags of each segment, by name without :data:`PREFIX`.
    """
    first = segments[0] if segments else {}
    return StoredFacts(
        _provenance(first),
        _shares(segments, "confidence"),
        _shares(segments, "boundary_margin"),
        {(kind, s["structure"]) for s in segments if "structure" in s for kind in s.get("ignored", "").split()},
        first.get("corrector", ""),
    )


def _shares(segments: Sequence[dict[str, str]], name: str) -> dict[str, float]:
    """A number from 0 to 1 per structure; anything else is left out."""
    shares = {}
    for segment in segments:
        with contextlib.suppress(KeyError, ValueError):
            if 0 <= (share := float(segment[name])) <= 1:
                shares[segment["structure"]] = share
    return shares


def _provenance(told: dict[str, str]) -> Provenance:
    """A segment's tags in the form of a result's provenance."""
    facts: Provenance = {
        "model": {"id": told.get("model", UNKNOWN), "version": told.get("version", "")},
        "settings": {"quality": told.get("quality", "")},
        "versions": {"deepseg": told.get("deepseg", "")},
    }
    if "created" in told:
        facts["created"] = told["created"]
    return facts
