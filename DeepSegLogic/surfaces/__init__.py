"""Organ surfaces: extraction from a label map, and files."""

from .export import FORMATS, check_formats, export_surfaces
from .extract import Surface, SurfaceSet, extract_surfaces

__all__ = ["FORMATS", "Surface", "SurfaceSet", "check_formats", "export_surfaces", "extract_surfaces"]
