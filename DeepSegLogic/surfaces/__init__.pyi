from .export import WrittenSurfaces, export_surfaces, write_surfaces
from .extract import make_surfaces
from .fairing import SMOOTHING
from .formats import FORMATS, Format, check_formats
from .surface import Surface, SurfaceSet

__all__ = [
    "FORMATS",
    "SMOOTHING",
    "Format",
    "Surface",
    "SurfaceSet",
    "WrittenSurfaces",
    "check_formats",
    "export_surfaces",
    "make_surfaces",
    "write_surfaces",
]
