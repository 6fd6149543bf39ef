"""What a face of DeepSeg shows and offers, without Qt and without a browser.

The panel in Slicer and the web page bind their widgets to one :class:`Session`, poll it, and hold no rules of
their own.
"""

from ..util.lazy import imported_as_stubbed

__getattr__, __all__ = imported_as_stubbed(__name__, __file__)
