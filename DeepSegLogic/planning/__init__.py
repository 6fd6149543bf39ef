"""Surgical planning: distances, margins, resections and approaches, measured on a label map. Research use only."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
