"""Models: cards, where they are found, and the backends that load them."""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
