"""Organ surfaces: extraction from a label map, and files."""

from .export import FORMATS, check_formats, export_surfaces
from .extract import SMOOTHING, Surface, SurfaceSet, extract_surfaces, update_surfaces

__all__ = [
    "FORMATS",
    "SMOOTHING",
    "Surface",
    "SurfaceSet",
    "check_formats",
    "export_surfaces",
    "extract_surfaces",
    "update_surfaces",
]
