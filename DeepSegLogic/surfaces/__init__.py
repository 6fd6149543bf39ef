"""Organ surfaces: made from a label map, checked, simplified, written to files."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
