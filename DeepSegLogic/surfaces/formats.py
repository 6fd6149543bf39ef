"""The file formats of surfaces: one table, and what writes each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from zipfile import ZIP_DEFLATED, ZipFile

from ..util.errors import UsageError
from ..util.words import check_list

if TYPE_CHECKING:
    from trimesh import Scene, Trimesh
    from trimesh.parent import Geometry
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    from ..data.types import PointsRas, Triangles

FROM_RAS = {"RAS": (1.0, 1.0, 1.0), "LPS": (-1.0, -1.0, 1.0)}
"""Coordinate systems that files can have: the factors from RAS to each. Two negated axes are a rotation."""


@dataclass(frozen=True)
class Part:
    """A structure as it goes into a file, in the coordinate system of the file.

    Attributes:
        title: its name for people.
        color: RGB.
        points: (N, 3) in mm.
        triangles: (M, 3), counter-clockwise as seen from outside.
    """

    title: str
    color: tuple[int, int, int]
    points: PointsRas
    triangles: Triangles

    @cached_property
    def mesh(self) -> Trimesh:
        """The same for trimesh, which takes long to import."""
        import trimesh

        mesh = trimesh.Trimesh(self.points, self.triangles, process=False)
        mesh.metadata["name"] = self.title
        mesh.visual = trimesh.visual.ColorVisuals(mesh, face_colors=[*self.color, 255])
        return mesh


Parts: TypeAlias = dict[str, Part]
"""File-safe name of a structure → the structure."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: of the file, without the dot; also the name of the format.
        title: for people.
        one_file: always one file for all structures, with their names and colors.
        write: writes parts, which have this coordinate system, to a path.
    """

    suffix: str
    title: str
    one_file: bool
    write: Callable[[Parts, Path, str], None]


def check_formats(formats: Iterable[str]) -> None:
    """Check that all formats are known.

    Raises:
        UsageError: one is not a key of :data:`FORMATS`, or this is no list.
    """
    check_list(formats)
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                f"Unknown surface format {name!r}.", f"Choose from {', '.join(FORMATS)}.", code="usage.format"
            )


def check_coordinates(system: str) -> None:
    """Raise :class:`UsageError` if this is not the name of a coordinate system of files."""
    if system not in FROM_RAS:
        raise UsageError(f"Unknown coordinate system {system!r}.", "Choose LPS or RAS.", code="usage.coordinates")


def _write_stl(parts: Parts, path: Path, coordinate_system: str) -> None:
    """Binary STL, without trimesh: it is what most people want."""
    import numpy as np

    corners = np.concatenate([part.points.take(part.triangles, 0) for part in parts.values()])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    facets = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
    facets["normal"] = normals / np.where(length > 0, length, 1)
    facets["corners"] = corners
    header = _note(coordinate_system).encode().ljust(80)
    path.write_bytes(header + np.uint32(len(facets)).astype("<u4").tobytes() + facets.tobytes())


def _write_ply(parts: Parts, path: Path, coordinate_system: str) -> None:
    from trimesh.exchange.ply import export_ply

    content = export_ply(_joined(parts))
    path.write_bytes(content.replace(b"format", f"comment {_note(coordinate_system)}\nformat".encode(), 1))


def _write_obj(parts: Parts, path: Path, coordinate_system: str) -> None:
    """OBJ text, which names the file of :func:`obj_materials` (trimesh offers no choice of that name)."""
    lines, first = [f"# {_note(coordinate_system)}", f"mtllib {path.with_suffix('.mtl').name}"], 1
    for name, part in parts.items():
        lines += [f"o {name}", f"usemtl {name}"]
        lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in part.points]
        lines += [f"f {a} {b} {c}" for a, b, c in part.triangles + first]
        first += len(part.points)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def obj_materials(parts: Parts) -> str:
    """The colors of an OBJ file, as the text of the ``.mtl`` file beside it."""
    colors = {name: " ".join(f"{c / 255:.4f}" for c in part.color) for name, part in parts.items()}
    return "".join(f"newmtl {name}\nKd {color}\n" for name, color in colors.items())


def _write_vtp(parts: Parts, path: Path, coordinate_system: str) -> None:
    import numpy as np

    from .surface import polydata

    starts = np.cumsum([0, *(len(part.points) for part in parts.values())])
    points = np.concatenate([part.points for part in parts.values()])
    triangles = np.concatenate([p.triangles + start for p, start in zip(parts.values(), starts, strict=False)])
    path.write_text(vtp_text(polydata(points, triangles), coordinate_system), encoding="utf-8")


def vtp_text(mesh: vtkPolyData, coordinate_system: str) -> str:
    """The text of a ``.vtp`` file; 3D Slicer looks for the coordinate system in its field ``SPACE``, and takes LPS
    where there is none."""
    from vtkmodules.vtkCommonCore import vtkStringArray
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    space, writer = vtkStringArray(), vtkXMLPolyDataWriter()
    space.SetName("SPACE")
    space.InsertNextValue(coordinate_system)
    mesh.GetFieldData().AddArray(space)
    writer.WriteToOutputStringOn()  # vtk says less about what goes wrong with a file than Python does
    writer.SetInputData(mesh)
    writer.Write()
    text: str = writer.GetOutputString()
    return text


def _write_glb(parts: Parts, path: Path, coordinate_system: str) -> None:
    from trimesh.exchange.gltf import export_glb

    path.write_bytes(export_glb(_upright_scene(parts, coordinate_system)))


def _write_3mf(parts: Parts, path: Path, coordinate_system: str) -> None:
    import trimesh
    from trimesh.exchange.threemf import export_3MF

    meshes: dict[str, Geometry] = {}
    for name, part in parts.items():
        part.mesh.units = "mm"
        meshes[name] = part.mesh
    with ZipFile(BytesIO(export_3MF(trimesh.Scene(meshes)))) as plain, ZipFile(path, "w", ZIP_DEFLATED) as colored:
        for name in plain.namelist():
            content = plain.read(name)
            colored.writestr(name, _with_colors(content, parts) if name.endswith(".model") else content)


def _with_colors(model: bytes, parts: Parts) -> bytes:
    """The XML of a 3MF model with colors, which trimesh leaves out; its objects are the parts, in their order."""
    from xml.sax.saxutils import quoteattr

    number, places = len(parts) + 1, count()  # objects are numbered from 1
    colors = ("#{:02X}{:02X}{:02X}".format(*part.color) for part in parts.values())
    bases = "".join(f'<base name={quoteattr(n)} displaycolor="{c}"/>' for n, c in zip(parts, colors, strict=True))
    materials = f'<resources><basematerials id="{number}">{bases}</basematerials>'.encode()
    model = model.replace(b"<resources>", materials, 1)
    return re.sub(b"<object ", lambda _: f'<object pid="{number}" pindex="{next(places)}" '.encode(), model)


def _joined(parts: Parts) -> Trimesh:
    import trimesh

    first, *others = (part.mesh for part in parts.values())
    if not others:
        return first
    joined = trimesh.util.concatenate([first, *others])
    assert isinstance(joined, trimesh.Trimesh)  # as its parts are
    return joined


def _note(coordinate_system: str) -> str:
    """What the headers of files say; 3D Slicer reads the first field."""
    return f"SPACE={coordinate_system}; UNIT=mm; DeepSeg"


def _linear(color: tuple[int, int, int]) -> list[int]:
    """The RGBA of a screen color (sRGB, IEC 61966-2-1) in linear light, which glTF wants; 0 to 255."""
    import numpy as np

    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return [*np.rint(255 * linear).astype(int).tolist(), 255]


def _upright_scene(parts: Parts, coordinate_system: str) -> Scene:
    """A scene in the axes of glTF: metres, Y up, Z towards the viewer, who stands in front of the patient."""
    import numpy as np
    import trimesh

    to_ras = np.diag([*FROM_RAS[coordinate_system], 1.0])
    upright = np.array([[-1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, 1e-3, 0, 0], [0, 0, 0, 1.0]])
    scene = trimesh.Scene()
    for name, part in parts.items():
        mesh = part.mesh.copy()
        material = trimesh.visual.material.PBRMaterial(
            name=name, baseColorFactor=_linear(part.color), metallicFactor=0.0, roughnessFactor=0.7
        )
        mesh.visual = trimesh.visual.TextureVisuals(material=material)
        mesh.apply_transform(upright @ to_ras)
        mesh.vertex_normals  # noqa: B018  (computed here, exported below: viewers then shade smoothly)
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    return scene


FORMATS: dict[str, Format] = {
    f.suffix: f
    for f in (
        Format("stl", "STL", False, _write_stl),
        Format("ply", "PLY", False, _write_ply),
        Format("obj", "OBJ", False, _write_obj),
        Format("vtp", "VTP", False, _write_vtp),
        Format("glb", "GLB", True, _write_glb),
        Format("3mf", "3MF", True, _write_3mf),
    )
}
"""Every format that surfaces can be written in, by suffix. The command line, the panel and the page offer these."""
