"""Review of a result: measurements of its structures, and findings, the places to look at first."""

from .findings import Finding, review
from .measurements import Measurement, measure

__all__ = ["Finding", "Measurement", "measure", "review"]
