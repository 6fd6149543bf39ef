"""Corrections by prompts: a click or a stroke corrects one structure, and no other."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
