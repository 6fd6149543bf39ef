"""Corrected cases of a model, a version of it that learnt from them, and the way back."""

from ..util.lazy import imported_on_use

_HOME_OF = {
    "CorrectedCase": "cases",
    "CorrectedCases": "cases",
    "Offer": "offer",
    "Row": "comparison",
    "adapt": "adapt",
    "go_back": "lineage",
}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
