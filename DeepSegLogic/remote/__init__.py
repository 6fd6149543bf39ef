"""A DeepSeg server on another machine, as Python programs and the faces use it; ``docs/server.md`` describes it."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
