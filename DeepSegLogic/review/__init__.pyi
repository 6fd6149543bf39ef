from .findings import Finding, review
from .measurements import Measurement, measure

__all__ = ["Finding", "Measurement", "measure", "review"]
