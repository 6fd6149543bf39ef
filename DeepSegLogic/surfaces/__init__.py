"""Organ surfaces: extraction from a label map, and files."""

from .export import FORMATS, check_formats, export_surfaces
from .extract import SMOOTHING, Surface, SurfaceSet, extract_surfaces, update_surfaces
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
