"""How a plan is shown: one table of presets and one of views. Faces and pictures apply them; nothing is drawn here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.label_map import Structure
from ..data.terminology import structure_for
from ..data.types import FloatArray
from ..util.i18n import mark as N_

RGB = tuple[int, int, int]

LESION_COLOR: RGB = (222, 70, 160)
"""Of a lesion, so that it stands out."""

_LESION = re.compile(r"tumou?r|lesion|metasta|carcinoma|nodule|cyst|cancer")
_VESSEL = re.compile(r"aorta|arter|vein|vena|venous|vessel")
_PART = re.compile(r".+_part_(\d+)")


@dataclass(frozen=True)
class Preset:
    """Opacities by what a structure is in the plan.

    Attributes:
        title: what it is called.
        lesion, vessel, bone, organ: of such structures, 0 to 1; 0 hides them.
        removed: of the parts that are taken out.
        margin: of the margin around a structure.
    """

    title: str
    lesion: float
    vessel: float
    bone: float
    organ: float
    removed: float
    margin: float


PRESETS: Mapping[str, Preset] = {
    "plan": Preset(N_("Plan"), lesion=1, vessel=1, bone=0.12, organ=0.35, removed=0.15, margin=0.3),
    "vessels": Preset(N_("Vessels"), lesion=1, vessel=1, bone=0, organ=0.12, removed=0.06, margin=0.2),
    "remnant": Preset(N_("Remnant"), lesion=0, vessel=1, bone=0, organ=1, removed=0, margin=0),
    "solid": Preset(N_("Solid"), lesion=1, vessel=1, bone=1, organ=1, removed=1, margin=0.3),
}
"""By id."""


@dataclass(frozen=True)
class View:
    """From where the patient is seen.

    Attributes:
        title: what it is called.
        towards: direction from the patient to the viewer, RAS.
        up: direction that points up in the picture, RAS; not along ``towards``.
    """

    title: str
    towards: tuple[float, float, float]
    up: tuple[float, float, float]


VIEWS: Mapping[str, View] = {
    "front": View(N_("Front"), (0, 1, 0), (0, 0, 1)),
    "right": View(N_("Right"), (1, 0, 0), (0, 0, 1)),
    "left": View(N_("Left"), (-1, 0, 0), (0, 0, 1)),
    "below": View(N_("Below"), (0, 0, -1), (0, 1, 0)),
    # The patient lies on the back, and the surgeon stands at the right side: the head is on the left.
    "surgeon": View(N_("Surgeon"), (0.6, 0.8, 0), (-0.8, 0.6, 0)),
}
"""By id."""


def spread(wanted: npt.ArrayLike, sizes: npt.ArrayLike, low: float, high: float) -> FloatArray:
    """Middles of labels in a column, moved from where they are wanted until none covers another.

    Args:
        wanted: middles, (N,), ascending.
        sizes: of the labels, (N,).
        low, high: of the column; what does not fit continues below ``low``.

    Example:
        >>> from DeepSegLogic.planning.looks import spread
        >>> spread([50, 52, 99], [10, 10, 10], 0, 100).tolist()
        [50.0, 60.0, 95.0]
    """
    found, halves = np.array(wanted, float), np.asarray(sizes, float) / 2
    gaps = halves[1:] + halves[:-1]
    if len(found):
        found[0] = max(found[0], low + halves[0])
        for n, gap in enumerate(gaps):
            found[n + 1] = max(found[n + 1], found[n] + gap)
        found[-1] = min(found[-1], high - halves[-1])
        for n in range(len(gaps) - 1, -1, -1):
            found[n] = min(found[n], found[n + 1] - gaps[n])
    return found


@dataclass(frozen=True)
class Look:
    """How one structure is shown.

    Attributes:
        opacity: 0 to 1.
        color: RGB.
    """

    opacity: float
    color: RGB


def role_of(structure: Structure) -> str:
    """What a structure is for a plan: ``"lesion"``, ``"vessel"``, ``"bone"`` or ``"organ"``; the last for all others.

    Example:
        >>> from DeepSegLogic.data.terminology import structure_for
        >>> from DeepSegLogic.planning.looks import role_of
        >>> [role_of(structure_for(name, 1)) for name in ("liver_tumor", "aorta", "rib_left_4", "spleen")]
        ['lesion', 'vessel', 'bone', 'organ']
    """
    name = structure.name.lower()
    system = structure.body_system or structure_for(structure.name, 1).body_system
    if _LESION.search(name):
        return "lesion"
    if system == "Vessels" or _VESSEL.search(name):
        return "vessel"
    return "bone" if system == "Skeleton" else "organ"


def is_made(structure: Structure) -> bool:
    """Whether a plan made it: a part of an organ, or a margin."""
    return bool(_PART.fullmatch(structure.name)) or "_margin_" in structure.name


def look_of(structure: Structure, preset: str, removed: Collection[str] = ()) -> Look:
    """How a preset shows a structure.

    Args:
        preset: one of :data:`PRESETS`.
        removed: names of the parts that are taken out.
    """
    shown, role = PRESETS[preset], role_of(structure)
    if "_margin_" in structure.name:
        return Look(shown.margin, structure.color)
    color = LESION_COLOR if role == "lesion" else structure.color
    if structure.name in removed:
        return Look(shown.removed, color)
    # what is left of an organ that is cut is what the picture is about
    more = 0.15 if _PART.fullmatch(structure.name) and shown.organ < 1 else 0.0
    return Look(getattr(shown, role) + more, color)
