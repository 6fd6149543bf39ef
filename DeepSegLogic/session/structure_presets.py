"""A model's structures by body system, by search words and by preset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.label_map import Structure
from ..data.terminology import structure_for
from ..util.i18n import mark as N_

OTHER = N_("Other")

PRESETS = {
    N_("Abdominal organs"): r"liver|spleen|pancreas|gallbladder|stomach|duodenum|small_bowel|colon"
    r"|kidney(_left|_right)?|adrenal_gland(_left|_right)?|urinary_bladder",
    N_("Liver surgery"): r"liver\w*|gallbladder|portal_vein_and_splenic_vein|inferior_vena_cava|aorta|stomach|duodenum"
    r"|pancreas|kidney_right",
    N_("Kidney surgery"): r"kidney\w*|adrenal_gland\w*|aorta|inferior_vena_cava|urinary_bladder"
    r"|ribs?_(left|right)(_1[012])?",
    N_("Spine"): r"vertebrae\w*|sacrum|spinal_cord",
    N_("Thorax"): r"lung\w*|heart\w*|trachea|esophagus|aorta|pulmonary\w*|ribs?_\w+|ribs|sternum"
    r"|costal_cartilages|superior_vena_cava",
    N_("Bones"): r"vertebrae\w*|sacrum|ribs?_\w+|ribs|sternum|skull|(hip|femur|humerus|scapula|clavicula)\w*|patella"
    r"|tibia|fibula|radius|ulna|carpal|tarsal|metacarpal|metatarsal|phalanges\w*",
    N_("Vessels"): r"aorta|\w*(vein|vena|artery|arteries|trunk)\w*|\w+_vessels",
}
"""Name, translated where it is shown → pattern that a structure's whole name must match."""


@dataclass(frozen=True)
class Group:
    """Structures of one body system, in label order."""

    title: str
    structures: tuple[Structure, ...]


def groups_of(names: Sequence[str]) -> list[Group]:
    """The structures of a model, given by name in label order, by body system; the largest group first."""
    found: dict[str, list[Structure]] = {}
    for value, name in enumerate(names, start=1):
        structure = structure_for(name, value)
        found.setdefault(structure.body_system or OTHER, []).append(structure)
    order = sorted(found, key=lambda title: (title == OTHER, -len(found[title])))
    return [Group(title, tuple(found[title])) for title in order]


def preset_names(preset: str, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that belong to a preset, maybe none.

    Raises:
        KeyError: there is no such preset.
    """
    pattern = re.compile(PRESETS[preset])
    return [name for name in names if pattern.fullmatch(name)]


def search_structures(words: str, structures: list[Structure]) -> list[Structure]:
    """Structures whose name, title or body system hold all of the words, or their beginnings."""
    wanted = words.lower().split()
    return [s for s in structures if all(w in f"{s.name} {s.title} {s.body_system or ''}".lower() for w in wanted)]
