"""Label maps and the structures in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from . import geometry
from .errors import UsageError


@dataclass(frozen=True)
class Code:
    """A coded concept, e.g. ``Code("SCT", "10200004", "Liver")``."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """One labelled anatomical structure.

    Attributes:
        value: its voxel value in the label map, > 0.
        name: stable snake_case identifier, e.g. ``"kidney_left"``.
        title: for people, e.g. ``"Left kidney"``.
        color: RGB, 0 to 255.
        category, type, modifier: SNOMED CT codes as Slicer's terminology entries use them; the modifier
            carries the laterality where there is one.
        laterality: ``"left"``, ``"right"`` or None.
        body_system: for grouping, e.g. ``"Digestive"``.
    """

    value: int
    name: str
    title: str = ""
    color: tuple[int, int, int] = (128, 174, 128)
    category: Code | None = None
    type: Code | None = None
    modifier: Code | None = None
    laterality: str | None = None
    body_system: str | None = None


@dataclass
class LabelMap:
    """Structures as voxel values on a volume's grid.

    Attributes:
        array: (K, J, I), C-contiguous, uint8 or uint16; 0 is background.
        ijk_to_ras: 4×4 float64, as in :class:`~DeepSegLogic.volume.Volume`.
        structures: those the map may hold, in label order; one may have no voxels.
        warnings: what a reader had to guess, one sentence each.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    structures: list[Structure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def spacing(self) -> np.ndarray:
        """mm along (I, J, K)."""
        return geometry.spacing_of(self.ijk_to_ras)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def structure(self, name: str) -> Structure:
        """The structure of this name or title, see :func:`known_structure`."""
        return known_structure(name, self.structures)

    def mask(self, name: str) -> np.ndarray:
        """Boolean (K, J, I) mask of one structure."""
        return self.array == self.structure(name).value

    def volume_ml(self, name: str) -> float:
        """Volume of one structure in ml."""
        return float(np.count_nonzero(self.mask(name))) * self.voxel_ml


def label_dtype(highest: int) -> type[np.unsignedinteger]:
    """The voxel type of a label map whose highest value is this."""
    return np.uint8 if highest < 256 else np.uint16


def structure_named(name: str, structures: Iterable[Structure]) -> Structure | None:
    """The structure of this name, else the first of this name or title in any case; None if there is none."""
    wanted, nearly = name.strip().casefold(), None
    for structure in structures:
        if structure.name == name:
            return structure
        if nearly is None and wanted in (structure.name.casefold(), structure.title.casefold()):
            nearly = structure
    return nearly


def known_structure(name: str, structures: Iterable[Structure]) -> Structure:
    """The structure of this name or title, see :func:`structure_named`.

    Raises:
        UsageError: there is none; the nearest names are suggested.
    """
    structures = list(structures)
    found = structure_named(name, structures)
    if found is None:
        raise unknown_structure(name, [s.name for s in structures])
    return found


def identifier(name: str, value: int, taken: set[str]) -> str:
    """A name as it was written by people, as :attr:`Structure.name` is: unlike those in ``taken``, which it joins."""
    found = name if re.fullmatch(r"\w+", name) else re.sub(r"\W+", "_", name.strip().lower()).strip("_")
    found = found or f"label_{value}"
    while found in taken:
        found += "_2"
    taken.add(found)
    return found


def unknown_structure(name: str, known: list[str]) -> UsageError:
    """The error for a structure name that is not among ``known``, with the nearest ones."""
    from difflib import get_close_matches

    wanted = name.strip().lower().replace(" ", "_").replace("-", "_")
    near = [k for k in known if wanted and (wanted in k or set(wanted.split("_")) == set(k.split("_")))]
    near += [k for k in get_close_matches(wanted, known, n=3, cutoff=0.5) if k not in near]
    if near:
        remedy = f"Did you mean {', '.join(near[:3])}?"
    else:
        remedy = f"Known structures: {', '.join(known)}."
    return UsageError(f"There is no structure named {name!r}.", remedy, code="usage.structure")
