"""Review of a result: measurements of its structures, and findings, the places to look at first."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
