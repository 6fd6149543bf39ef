"""What DeepSeg stores as tags on the segments that it makes, so that a saved scene keeps it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.run_record import PHASES, Provenance
from ..util.json_text import json_of

PREFIX = "DeepSeg."
"""Of the tags' names in files and in 3D Slicer."""

UNKNOWN = "unknown"
"""Model of segments that DeepSeg did not make."""

PLAN = PREFIX + "plan"
"""Attribute of the segmentation's node in a scene: the content of a plan file."""

RUN = PREFIX + "run"
"""Attribute of the segmentation's node in a scene: what its run told, see :func:`text_of_run`."""

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


@dataclass(kw_only=True)
class StoredFacts:
    """What is known of a stored result beside its voxels.

    Attributes:
        provenance: of the run that made the segments; the model is :data:`UNKNOWN` for other segments.
        confidence, boundary_margin: by structure; see ``DeepSegLogic.segmentation.Result``.
        ignored: kind and structure of the findings that the user hid.
        corrector: id of the model that made corrections; empty for the solver.
        phase, warnings: what the run told of the scan; see ``DeepSegLogic.segmentation.Result``.
        as_run: by structure, see :attr:`DeepSegLogic.session.Outcome.as_run`.
    """

    provenance: Provenance = field(default_factory=Provenance)
    confidence: dict[str, float] = field(default_factory=dict)
    boundary_margin: dict[str, float] = field(default_factory=dict)
    ignored: set[tuple[str, str]] = field(default_factory=set)
    corrector: str = ""
    phase: str = ""
    warnings: list[str] = field(default_factory=list)
    as_run: dict[str, str] = field(default_factory=dict)


def stored_facts(segments: Sequence[dict[str, str]], run: str = "") -> StoredFacts:
    """What the tags of a segmentation say; what is missing or not understood is left out.

    Args:
        segments: the tags of each segment, by name without :data:`PREFIX`.
        run: what the attribute :data:`RUN` holds; may be empty, or anything.
    """
    first, told = segments[0] if segments else {}, _told(run)
    return StoredFacts(
        provenance=_provenance(first, _words(told.get("enhanced"))),
        confidence=_shares(segments, "confidence"),
        boundary_margin=_shares(segments, "boundary_margin"),
        ignored={(kind, s["structure"]) for s in segments if "structure" in s for kind in s.get("ignored", "").split()},
        corrector=first.get("corrector", ""),
        phase=told["phase"] if told.get("phase") in PHASES else "",
        warnings=[text for text in _list(told.get("warnings")) if isinstance(text, str)],
        as_run=_words(told.get("as_run")),
    )


def segments_in(file: Path) -> list[dict[str, str]]:
    """DeepSeg's tags on each segment of a ``.seg.nrrd``, by name without :data:`PREFIX`.

    Raises:
        InputError: the file is damaged, or no NRRD.
    """
    from .headers.nrrd import read_header

    pairs = read_header(file).pairs
    told: list[dict[str, str]] = []
    while (key := f"Segment{len(told)}_Tags") in pairs:
        tags = pairs_of(pairs[key], "|")
        told.append({name.removeprefix(PREFIX): value for name, value in tags.items() if name.startswith(PREFIX)})
    return told


def pairs_of(text: str, end: str = ";") -> dict[str, str]:
    """MRML's ``"a:b;c:d;"``, or 3D Slicer's ``"a:b|c:d|"`` in files."""
    return dict(part.split(":", 1) for part in text.split(end) if ":" in part)


def text_of_run(phase: str, warnings: Sequence[str], provenance: Provenance, as_run: dict[str, str]) -> str:
    """What a run told, for the attribute :data:`RUN`.

    Args:
        phase, warnings, provenance: of the result.
        as_run: see :class:`StoredFacts`.
    """
    enhanced = provenance.get("settings", {}).get("enhanced", {})
    return json.dumps({"phase": phase, "warnings": list(warnings), "enhanced": enhanced, "as_run": as_run})


def _shares(segments: Sequence[dict[str, str]], name: str) -> dict[str, float]:
    """A number from 0 to 1 per structure; anything else is left out."""
    shares = {}
    for segment in segments:
        with contextlib.suppress(KeyError, ValueError):
            if 0 <= (share := float(segment[name])) <= 1:
                shares[segment["structure"]] = share
    return shares


def _told(run: str) -> dict[str, Any]:
    try:
        told = json_of(run.encode())
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: Any) -> dict[str, str]:
    known = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in known if isinstance(text, str)}


def _provenance(told: dict[str, str], enhanced: dict[str, str]) -> Provenance:
    """A segment's tags in the form of a result's provenance."""
    facts: Provenance = {
        "model": {"id": told.get("model", UNKNOWN), "version": told.get("version", "")},
        "settings": {"quality": told.get("quality", "")},
        "versions": {"deepseg": told.get("deepseg", "")},
    }
    if "created" in told:
        facts["created"] = told["created"]
    if enhanced:
        facts["settings"]["enhanced"] = enhanced
    return facts
