"""Evaluation of label maps: metrics, intervals, subgroups, report."""

from ..util.lazy import imported_on_use

_HOME_OF = {
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "write_evaluation": "output",
}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
