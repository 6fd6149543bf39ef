"""Organ surfaces: extraction from a label map, and files."""

from .export import FORMATS, check_formats, export_surfaces
from .extract import Surface, SurfaceSet, extract_surfaces, update_surfaces
from .fairing import SMOOTHING
from .writing import WrittenSurfaces, write_surfaces

__all__ = [
    "FORMATS",
    "SMOOTHING",
    "Surface",
    "SurfaceSet",
    "WrittenSurfaces",
    "check_formats",
    "export_surfaces",
    "extract_surfaces",
    "update_surfaces",
    "write_surfaces",
]
