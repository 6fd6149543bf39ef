"""Surfaces as files that other programs open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic_path
from .extract import Surface, SurfaceSet

FORMATS = ("stl", "ply", "obj", "glb")


def check_formats(formats: list[str]) -> None:
    """Raise :class:`UsageError` for a format that is not known."""
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                f"There is no surface format {name!r}.", f"Choose from {', '.join(FORMATS)}.", code="usage.format"
            )


def export_surfaces(
    surfaces: SurfaceSet, folder: Path | str, formats: list[str], coordinate_system: str = "LPS"
) -> list[Path]:
    """Write surfaces: one file per structure, or one scene with names and colours for ``glb``.

    Args:
        coordinate_system: ``"LPS"`` (DICOM, and what 3D Slicer expects of STL, PLY and OBJ) or ``"RAS"``.

    Raises:
        UsageError: an unknown format.
        OutputError: a file cannot be written.
    """
    import trimesh

    check_formats(formats)
    folder = Path(folder)
    written = []
    meshes = {s.structure.name: _mesh(s, coordinate_system) for s in surfaces}
    for kind in formats:
        if kind == "glb":
            with atomic_path(folder / "organs.glb") as path:
                trimesh.Scene(meshes).export(path)
            written.append(folder / "organs.glb")
            continue
        for name, mesh in meshes.items():
            with atomic_path(folder / f"{name}.{kind}") as path:
                mesh.export(path)
            written.append(folder / f"{name}.{kind}")
    return written


def _mesh(surface: Surface, coordinate_system: str):
    import trimesh

    points = surface.points * ([-1, -1, 1] if coordinate_system == "LPS" else [1, 1, 1])
    color = np.array([*surface.structure.color, 255], np.uint8)
    material = trimesh.visual.material.PBRMaterial(
        name=surface.structure.name, baseColorFactor=color, metallicFactor=0.0, roughnessFactor=0.7
    )
    mesh = trimesh.Trimesh(points, surface.triangles, process=False)
    mesh.visual = trimesh.visual.TextureVisuals(material=material)
    return mesh
