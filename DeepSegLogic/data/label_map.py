"""Label maps and the structures in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..util.errors import InputError, UsageError
from .records import GridRecord
from .types import Affine, FloatArray, LabelArray, MaskArray


@dataclass(frozen=True)
class Code:
    """A coded concept, e.g. ``Code("SCT", "10200004", "Liver")``."""

    scheme: str
    value: str
    meaning: str


SIDES = {"left": Code("SCT", "7771000", "Left"), "right": Code("SCT", "24028007", "Right")}


@dataclass(frozen=True)
class Structure:
    """One labelled anatomical structure.

    Attributes:
        value: its voxel value in the label map, > 0.
        name: stable snake_case identifier, e.g. ``"kidney_left"``.
        title: the name shown to users, e.g. ``"Left kidney"``.
        color: RGB, 0 to 255.
        category, type, modifier: SNOMED CT codes as Slicer's terminology entries use them; the modifier
            carries the laterality where there is one.
        region: where it is, if the type does not say it, e.g. the liver of a tumour.
        laterality: ``"left"``, ``"right"`` or None.
        body_system: for grouping, e.g. ``"Digestive"``.

    Example:
        >>> from DeepSegLogic import Structure
        >>> Structure(3, "kidney_left", "Left kidney", laterality="left").title
        'Left kidney'
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
    region: Code | None = None

    @property
    def region_modifier(self) -> Code | None:
        """The side of the region; None without a region or a side."""
        return SIDES.get(self.laterality or "") if self.region else None


@dataclass(eq=False, repr=False)
class LabelMap(GridRecord):
    """Structures as voxel values on a volume's grid.

    Label maps are equal if their voxels, grids and structures are.

    Attributes:
        array: (K, J, I), C-contiguous, uint8 or uint16; 0 is background.
        ijk_to_ras: 4×4 float64, as in :class:`~DeepSegLogic.data.volume.Volume`.
        structures: those the map may hold, in label order; one may have no voxels.
        warnings: what a reader had to guess, one sentence each.
        layers: where structures overlap, label maps on the same grid that together hold each structure whole; their
            values are those of ``structures``. ``array`` then holds only the smallest structure at a voxel. Else empty.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> voxels = np.zeros((10, 10, 10), np.uint8)
        >>> voxels[2:7, 2:7, 2:6] = 1
        >>> organs = LabelMap(voxels, np.diag([2.0, 2.0, 2.5, 1.0]), [Structure(1, "spleen", "Spleen")])
        >>> round(organs.volume_ml("Spleen"), 3)
        1.0
    """

    array: LabelArray
    ijk_to_ras: Affine
    structures: list[Structure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layers: list[LabelMap] = field(default_factory=list)
    _number_kinds: ClassVar[str] = "biu"

    def __post_init__(self) -> None:
        """Check what scripts give, see :class:`~DeepSegLogic.data.records.GridRecord`.

        Raises:
            UsageError: labels that are no whole numbers from 0 on, or structures that are none or have the value 0.
        """
        super().__post_init__()
        if self.array.dtype.kind == "i" and self.array.min(initial=0) < 0:
            raise self._unfit_numbers()
        names: dict[int, str] = {}
        for structure in self.structures:
            if not isinstance(structure, Structure) or not isinstance(structure.value, int | np.integer):
                raise UsageError(
                    f"The structures of a LabelMap are a list of Structure, but {structure!r} is in it.",
                    'Give [Structure(1, "liver"), …].',
                    code="usage.structures",
                )
            if structure.value < 1:
                raise UsageError(
                    f"The structure {structure.name} has the value {structure.value}, but 0 is the background.",
                    "Give it a value from 1 on.",
                    code="usage.structures",
                )
            if names.setdefault(structure.value, structure.name) != structure.name:
                both = f"{names[structure.value]} and {structure.name}"
                raise UsageError(
                    f"Two structures of a LabelMap have the value {structure.value}: {both}.",
                    "Give each a value of its own.",
                    code="usage.structures",
                )

    def _unfit_numbers(self) -> UsageError:
        found = f"{self.array.dtype} with negative values" if self.array.dtype.kind == "i" else self.array.dtype
        return UsageError(
            f"The voxels of a LabelMap are the whole numbers of its structures, 0 for background, not {found}.",
            "Round or correct them, and give array.astype(numpy.uint8), or numpy.uint16 for values above 255.",
            code="usage.array",
        )

    @property
    def spacing(self) -> FloatArray:
        """Former name of :attr:`spacing_ijk`."""
        return self.spacing_ijk

    def structure(self, name: str) -> Structure:
        """The structure of this name or title, see :func:`known_structure`."""
        return known_structure(name, self.structures)

    def mask(self, name: str) -> MaskArray:
        """The voxels of one structure, (K, J, I) bool."""
        structure = self.structure(name)
        mask: MaskArray = self.layer_of(structure).array == structure.value
        return mask

    def layer_of(self, structure: Structure) -> LabelMap:
        """The layer that holds a structure whole; this label map if there are none, or the structure is empty."""
        return next((layer for layer in self.layers if structure in layer.structures), self)

    def without_overlaps(self, task: str, remedy: str = "") -> LabelMap:
        """This label map, if no structures overlap.

        Args:
            task: what needs that, for the message, such as ``"trained on"``.
            remedy: what to do instead, if there is a better way than to save the structures without overlaps.

        Raises:
            InputError: structures overlap, so that a part of them would be lost.
        """
        if self.layers:
            names = ", ".join(s.title or s.name for s in self.structures[:5])
            raise InputError(
                f"Structures of the label map overlap ({names}), so that it cannot be {task} without losing a part of "
                "them.",
                remedy
                or "Save the structures that you need as a segmentation without overlaps: in 3D Slicer's Segment "
                "Editor, copy them one by one into a new segmentation.",
                code="input.overlap",
            )
        return self

    def volume_ml(self, name: str) -> float:
        """Volume of one structure in ml."""
        return float(np.count_nonzero(self.mask(name))) * self.voxel_ml

    def _shown(self) -> Iterator[tuple[str, object]]:
        yield from super()._shown()
        yield "structures", [s.name for s in self.structures]


def changed_structures(before: LabelMap, after: LabelMap) -> list[str]:
    """Names of the structures that a correction changed or added; label maps on the same grid."""
    former = {(s.name, s.value): s for s in before.structures}
    touched: dict[tuple[int, int], set[int]] = {}  # by the pair of layers that a structure was in and is in

    def is_touched(structure: Structure) -> bool:
        was, now = before.layer_of(former[structure.name, structure.value]), after.layer_of(structure)
        pair = id(was), id(now)
        if pair not in touched:
            touched[pair] = _touched(was.array, now.array)
        return structure.value in touched[pair]

    return [s.name for s in after.structures if (s.name, s.value) not in former or is_touched(s)]


def _touched(before: LabelArray, after: LabelArray) -> set[int]:
    """The values that gained or lost voxels."""
    touched: set[int] = set()
    for one, other in zip(before, after, strict=True):  # whole arrays of what moved would not fit the cache
        if (moved := one != other).any():
            touched.update(*(np.flatnonzero(np.bincount(values[moved])).tolist() for values in (one, other)))
    return touched


def only(structures: Collection[Structure], label_map: LabelMap) -> LabelMap:
    """A label map without the voxels and names of all but some structures; in layers only if these overlap."""
    kept = [s for s in label_map.structures if s in structures]
    layers = [only(structures, layer) for layer in label_map.layers]
    layers = [layer for layer in layers if layer.structures]
    if layers:
        array = smallest_on_top([layer.array for layer in layers])
    else:
        table = np.zeros(int(label_map.array.max()) + 1, label_map.array.dtype)
        values = [s.value for s in kept if s.value < len(table)]
        table[values] = values
        array = table[label_map.array]
    return replace(label_map, array=array, structures=kept, layers=layers if len(layers) > 1 else [])


def label_dtype(highest: int) -> type[np.uint8 | np.uint16]:
    """The smallest voxel type of a label map that holds this value."""
    return np.uint8 if highest < 256 else np.uint16


def smallest_on_top(layers: Sequence[LabelArray]) -> LabelArray:
    """One array (K, J, I) of several: at each voxel, the value there that has the fewest voxels of all.

    Args:
        layers: at least one; each value is in one of them.
    """
    highest = max(int(layer.max(initial=0)) for layer in layers)
    sizes = np.sum([np.bincount(part.ravel(), minlength=highest + 1) for layer in layers for part in layer], 0)
    order = np.zeros(highest + 1, label_dtype(highest))
    order[1 + np.argsort(-sizes[1:], kind="stable")] = np.arange(1, highest + 1)
    top = layers[0].copy()
    for layer in layers[1:]:
        for below, above in zip(top, layer, strict=True):  # a slice at a time stays in the processor's cache
            if above.any():
                np.copyto(below, above, where=order[above] > order[below])
    return top


def structure_named(name: str, structures: Iterable[Structure]) -> Structure | None:
    """The structure of this name, else the first whose name or title matches in any case; None if there is none."""
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


def with_voxels(label_map: LabelMap) -> list[Structure]:
    """The structures that have voxels."""
    return [s for s in label_map.structures if label_map.mask(s.name).any()]


def identifier(name: str, value: int, taken: set[str]) -> str:
    """A :attr:`Structure.name` made of a name as people write it; unique among ``taken``, to which it is added."""
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
    near = [
        k
        for k in known
        if wanted and ((len(wanted) > 2 and wanted in k) or set(wanted.split("_")) == set(k.split("_")))
    ]
    near += [k for k in get_close_matches(wanted, known, n=3, cutoff=0.6) if k not in near]
    if near:
        remedy = f"Did you mean {', '.join(near[:3])}?"
    else:
        remedy = f"Known structures: {', '.join(known)}."
    return UsageError(f"There is no structure named {name!r}.", remedy, code="usage.structure")
