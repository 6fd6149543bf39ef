"""Pictures of a computed plan: standard views with names, distances and a scale bar, and a turntable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..planning import EvaluatedPlan, Plane, contour_lines, line_of, mapped, shape_of
from ..planning.looks import PRESETS, RGB, VIEWS, View, is_made, look_of
from ..planning.plan_file import cut_of, structures_of
from ..surfaces.extract import make_surfaces
from ..surfaces.surface import polydata
from ..util.atomic_write import atomic_folder
from ..util.errors import UsageError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .plan_labels import Caption, Measured, annotated
from .rendering import Drawn, Frame, rendered

if TYPE_CHECKING:
    from PIL.Image import Image
    from vtkmodules.vtkCommonDataModel import vtkPolyData

TURNTABLE = "turntable.gif"
SIZE = 960, 720
"""Width and height of a picture at 1×."""
_FRAMES, _FRAME_MS = 36, 90
_LIFT_MM = 0.4
_CUT: RGB = (255, 217, 76)
_DARK: RGB = (20, 22, 26)


@dataclass(frozen=True)
class PlanScene:
    """What is in the pictures of a plan.

    Attributes:
        drawn: meshes with their looks.
        captions: names of structures, and where they are; those of the plan first, since a picture has room for some.
        measured: distances, as lines.
    """

    drawn: tuple[Drawn, ...]
    captions: tuple[Caption, ...]
    measured: tuple[Measured, ...]


def write_pictures(
    evaluated: EvaluatedPlan,
    folder: Path | str,
    preset: str = "plan",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[Path]:
    """Write a picture from each standard view, in twice the size, and a turntable; all files or none.

    The files are ``front.png`` and so on for :data:`~DeepSegLogic.planning.looks.VIEWS`, and ``turntable.gif``.

    Args:
        preset: one of :data:`~DeepSegLogic.planning.looks.PRESETS`.

    Raises:
        UsageError: an unknown preset.
        OutputError: a file cannot be written.
        Cancelled: ``cancel`` returned True.
    """
    scene = plan_scene(evaluated, preset)
    names = [f"{view}.png" for view in VIEWS]
    with atomic_folder(Path(folder), last=TURNTABLE) as temporary:
        drawn = pictures(scene, list(VIEWS.values()), SIZE, 2)
        for number, name in enumerate(names):
            check(cancel)
            progress("pictures", number / (len(names) + 2), name)
            next(drawn).save(temporary / name, dpi=(192, 192))
        progress("pictures", len(names) / (len(names) + 2), TURNTABLE)
        frames = turntable(scene, (SIZE[0] // 2, SIZE[1] // 2), cancel)
        options: dict[str, Any] = {"save_all": True, "duration": _FRAME_MS, "loop": 0}
        frames[0].save(temporary / TURNTABLE, append_images=frames[1:], **options)
    progress("pictures", 1.0, "")
    return [Path(folder) / name for name in (*names, TURNTABLE)]


def check_preset(preset: str) -> None:
    """Check that there is such a preset.

    Raises:
        UsageError: there is none.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset!r}.", f"Choose from {', '.join(PRESETS)}.", code="usage.preset")


def plan_scene(evaluated: EvaluatedPlan, preset: str = "plan") -> PlanScene:
    """What the pictures of a plan show.

    Raises:
        UsageError: an unknown preset.
    """
    check_preset(preset)
    numbers = evaluated.plan.numbers or {}
    removed = {p["name"] for r in numbers.get("resections", []) for p in r["parts"] if p["removed"]}
    drawn, planned, others = list[Drawn](), list[Caption](), list[Caption]()
    named = structures_of(evaluated.plan, evaluated.label_map)
    for surface in make_surfaces(evaluated.label_map):
        look = look_of(surface.structure, preset, removed)
        if look.opacity > 0:
            drawn.append(Drawn(polydata(surface.points, surface.triangles), look.color, look.opacity))
            title = surface.structure.title or surface.structure.name
            first = surface.structure.name in named or is_made(surface.structure)
            (planned if first else others).append(Caption(title, look.color, surface.points))
    for found in evaluated.maps:
        drawn.append(Drawn(mapped(found, _LIFT_MM), (255, 255, 255), 1.0, colored=True))
        drawn.append(Drawn(contour_lines(found, 2 * _LIFT_MM), _DARK, 1.0))
    for vessel in numbers.get("vessels", []):
        drawn.append(Drawn(line_of(np.array(vessel["points_ras"])), _CUT, 1.0))
    for path in evaluated.plan.entries.get("approaches", []):
        drawn.append(Drawn(line_of(np.array([path["entry"], path["target"]], float)), _CUT, 1.0))
    drawn += [Drawn(mesh, _CUT, 0.25) for mesh in _cuts(evaluated)]
    ends = [(n["points_ras"], n["distance_mm"]) for n in numbers.get("distances", [])]
    measured = [Measured(np.array(points, float), f"{mm:.1f} mm") for points, mm in ends]
    return PlanScene(tuple(drawn), (*planned, *others), tuple(measured))


def picture(scene: PlanScene, view: View, size: tuple[int, int], scale: int = 1) -> Image:
    """One picture, see :func:`pictures`."""
    return next(pictures(scene, [view], size, scale))


def pictures(scene: PlanScene, views: Sequence[View], size: tuple[int, int], scale: int = 1) -> Iterator[Image]:
    """Pictures with names, distances and a scale bar, each made when it is asked for.

    Args:
        size: width and height in pixels at 1×.
        scale: how many pixels one of them becomes.
    """
    meshes = [d.mesh for d in scene.drawn]
    frames = [Frame.around(meshes, view, (size[0] * scale, size[1] * scale)) for view in views]
    for frame, image in zip(frames, rendered(scene.drawn, frames), strict=True):
        yield annotated(image, frame, scene.captions, scene.measured, scale)


def turntable(scene: PlanScene, size: tuple[int, int], cancel: Cancel = never_cancel) -> list[Image]:
    """Pictures all around the patient, from the front on, without names; the scale stays the same.

    Raises:
        Cancelled: ``cancel`` returned True.
    """
    frames, meshes = [], [d.mesh for d in scene.drawn]
    turned = [2 * np.pi * number / _FRAMES for number in range(_FRAMES)]
    views = [replace(VIEWS["front"], towards=(float(np.sin(a)), float(np.cos(a)), 0.0)) for a in turned]
    around = [Frame.around(meshes, view, size) for view in views]
    widest = max(frame.mm_per_pixel for frame in around)
    for frame in rendered(scene.drawn, [replace(frame, mm_per_pixel=widest) for frame in around]):
        check(cancel)
        frames.append(frame)
    return frames


def _cuts(evaluated: EvaluatedPlan) -> list[vtkPolyData]:
    """The shapes of all cuts but planes, whose parts show them."""
    found = []
    resections = (evaluated.plan.numbers or {}).get("resections", [])
    for entry, numbers in zip(evaluated.plan.entries.get("resections", []), resections, strict=True):
        surfaces = make_surfaces(evaluated.label_map, [part["name"] for part in numbers["parts"]])
        points = np.concatenate([surface.points for surface in surfaces])
        found += [
            shape_of(cut, points.min(0), points.max(0))
            for cut in map(cut_of, entry["cuts"])
            if not isinstance(cut, Plane)
        ]
    return [mesh for mesh in found if mesh is not None]
