"""What a scan is: its body regions, contrast phase and modality, and whether it lies upside down or mirrored."""

from .anatomy import finds_nothing, outside, regions_of
from .coarse import thinned
from .scan import Part, Scan, what_is

__all__ = [
    "Part",
    "Scan",
    "finds_nothing",
    "outside",
    "regions_of",
    "thinned",
    "what_is",
]
