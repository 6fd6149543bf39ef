"""What made the structures, as DICOM tells it."""

from __future__ import annotations

from typing import NamedTuple

from ...data.run_record import Provenance
from ...util.version import __version__
from ..segment_tags import UNKNOWN

_MOST_LETTERS = 64  # of a DICOM text of type LO


class Algorithm(NamedTuple):
    """Its name and version, and DICOM's word for how much of the work it did."""

    name: str
    version: str
    type: str


def algorithm_of(provenance: Provenance | None, corrected: bool) -> Algorithm:
    """What made the structures of a result.

    Args:
        provenance: of the result. Structures of an unknown model were opened, and may have been drawn by hand.
        corrected: whether somebody changed the result.
    """
    model = (provenance or {}).get("model", {})
    if model.get("id") == UNKNOWN:
        return Algorithm("Unknown", "Unknown", "SEMIAUTOMATIC")
    name, version = f"DeepSeg {model.get('id', '')}".strip(), str(model.get("version") or __version__)
    return Algorithm(name[:_MOST_LETTERS], version[:_MOST_LETTERS], "SEMIAUTOMATIC" if corrected else "AUTOMATIC")
