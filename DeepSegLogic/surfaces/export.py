"""Surfaces as files that other programs open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic_path
from .extract import Surface, SurfaceSet
from .quality import SurfaceQuality

PER_STRUCTURE = ("stl", "ply", "obj", "vtp")
SCENES = ("glb", "3mf")
FORMATS = (*PER_STRUCTURE, *SCENES)
_FROM_RAS = {"RAS": np.eye(3), "LPS": np.diag([-1.0, -1.0, 1.0])}
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}


def check_formats(formats: list[str]) -> None:
    """Raise :class:`UsageError` for a format that is not known."""
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                f"There is no surface format {name!r}.", f"Choose from {', '.join(FORMATS)}.", code="usage.format"
            )


def export_surfaces(
    surfaces: SurfaceSet,
    folder: Path | str,
    formats: list[str],
    coordinate_system: str = "LPS",
    joint: bool = False,
) -> list[Path]:
    """Write surfaces, in mm.

    ``stl``, ``ply``, ``obj`` and ``vtp`` give one file per structure, or one for all with ``joint``; ``glb``
    and ``3mf`` one scene, in which each structure has its name and colour. GLB is in metres with Y up, as its
    standard wants, and other formats are in the coordinate system given; STL and PLY say so in their header.

    Args:
        coordinate_system: ``"LPS"`` (DICOM, and what 3D Slicer takes such files for) or ``"RAS"``.

    Raises:
        UsageError: an unknown format or coordinate system.
        OutputError: a file cannot be written.
    """
    check_formats(formats)
    if coordinate_system not in _FROM_RAS:
        raise UsageError(
            f"There is no coordinate system {coordinate_system!r}.", "Choose LPS or RAS.", code="usage.coordinates"
        )
    meshes = dict(zip(_file_names(surfaces), (_mesh(s, coordinate_system) for s in surfaces), strict=True))
    written = []
    for kind in formats:
        if kind in SCENES or joint:
            targets = {"organs": meshes}
        else:
            targets = {name: {name: mesh} for name, mesh in meshes.items()}
        for name, parts in targets.items():
            target = Path(folder) / f"{name}.{kind}"
            if kind == "obj":
                with atomic_path(target.with_suffix(".mtl")) as path:
                    path.write_text(_materials(parts), encoding="utf-8")
            with atomic_path(target) as path:
                _write(parts, path, kind, coordinate_system)
            written.append(target)
    return written


def write_quality(qualities: dict[str, SurfaceQuality], path: Path) -> None:
    """Write what is known about each surface as JSON, by structure."""
    content = {name: quality.as_json() for name, quality in qualities.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _file_names(surfaces: Iterable[Surface]) -> list[str]:
    """The structures' names with nothing in them that some platform forbids in file names, or takes for another's."""
    names, taken = [], set(_RESERVED)
    for surface in surfaces:
        name = re.sub(r"[^\w.-]+", "_", surface.structure.name).strip("._") or f"label_{surface.structure.value}"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names.append(name)
    return names


def _mesh(surface: Surface, coordinate_system: str):
    import trimesh

    # Turning two axes round is a rotation: the orientation of the faces stays.
    mesh = trimesh.Trimesh(surface.points @ _FROM_RAS[coordinate_system], surface.triangles, process=False)
    mesh.metadata["name"] = surface.structure.title or surface.structure.name
    mesh.visual.face_colors = [*surface.structure.color, 255]
    return mesh


def _write(parts: dict, path: Path, kind: str, coordinate_system: str) -> None:
    import trimesh

    if kind == "glb":
        path.write_bytes(_scene(parts, coordinate_system).export(file_type="glb"))
        return
    if kind == "3mf":
        for mesh in parts.values():
            mesh.units = "mm"
        path.write_bytes(trimesh.Scene(parts).export(file_type="3mf"))
        return
    whole = trimesh.util.concatenate(list(parts.values())) if len(parts) > 1 else next(iter(parts.values()))
    note = f"SPACE={coordinate_system}; UNIT=mm; DeepSeg"
    if kind == "stl":
        content = bytearray(trimesh.exchange.stl.export_stl(whole))
        content[:80] = note.encode().ljust(80)
        path.write_bytes(content)
    elif kind == "ply":
        content = whole.export(file_type="ply")
        path.write_bytes(content.replace(b"format", f"comment {note}\nformat".encode(), 1))
    elif kind == "obj":
        path.write_text(_obj(parts, path.with_suffix(".mtl").name, note), encoding="utf-8")
    else:
        _write_vtp(whole, path)


def _scene(parts: dict, coordinate_system: str):
    """A scene as glTF wants it: metres, Y up, Z towards the viewer (who stands in front of the patient)."""
    import trimesh

    to_ras = np.eye(4)
    to_ras[:3, :3] = _FROM_RAS[coordinate_system]
    upright = np.array([[-1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, 1e-3, 0, 0], [0, 0, 0, 1.0]])
    scene = trimesh.Scene()
    for name, mesh in parts.items():
        mesh = mesh.copy()
        color = [int(c) for c in mesh.visual.face_colors[0]]
        material = trimesh.visual.material.PBRMaterial(
            name=name, baseColorFactor=color, metallicFactor=0.0, roughnessFactor=0.7
        )
        mesh.visual = trimesh.visual.TextureVisuals(material=material)
        mesh.apply_transform(upright @ to_ras)
        mesh.vertex_normals  # noqa: B018  (computed here, exported below: viewers then shade smoothly)
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    return scene


def _obj(parts: dict, library: str, note: str) -> str:
    """OBJ text that refers to its colours by the name of their file, which trimesh does not let one choose."""
    lines, first = [f"# {note}", f"mtllib {library}"], 1
    for name, mesh in parts.items():
        lines += [f"o {name}", f"usemtl {name}"]
        lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.vertices]
        lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + first]
        first += len(mesh.vertices)
    return "\n".join(lines) + "\n"


def _materials(parts: dict) -> str:
    colors = {n: " ".join(f"{c / 255:.4f}" for c in m.visual.face_colors[0][:3]) for n, m in parts.items()}
    return "".join(f"newmtl {name}\nKd {color}\n" for name, color in colors.items())


def _write_vtp(mesh, path: Path) -> None:
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    from .convert import polydata

    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(polydata(mesh.vertices, mesh.faces))
    if not writer.Write() or writer.GetErrorCode():
        raise OSError(f"{path.name} could not be written")
