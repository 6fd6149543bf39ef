"""Several label maps of one volume, by two models or by variants of one: where they differ, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..data.affine import ijk_to_ras_points
from ..data.boxes import box_of, hull, matrix_of
from ..data.label_map import LabelMap, Structure, known_structure, label_dtype, structure_named
from ..data.records import on_same_grid
from ..data.types import ByteArray, LabelArray, MaskArray
from ..util.errors import InputError, UsageError
from ..util.tables import write_table
from .measurements import position

_SURE = 0.999  # Dice from which a structure counts as agreed on


@dataclass(frozen=True)
class Disagreement:
    """How far opinions on one structure differ.

    Attributes:
        name, title: of the structure.
        volumes_ml: by opinion.
        dice: the mean over all pairs of opinions; None if nobody found it.
        differing_ml: of the voxels that some give to the structure, and others do not.
        at: where the largest piece of these is thickest, RAS in mm; None where there are none.
    """

    name: str
    title: str
    volumes_ml: tuple[float, ...]
    dice: float | None
    differing_ml: float
    at: tuple[float, float, float] | None

    @property
    def differs(self) -> bool:
        """Whether there is something to look at."""
        return self.dice is not None and self.dice < _SURE

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def disagreements(opinions: Sequence[LabelMap]) -> list[Disagreement]:
    """How far opinions differ, for each structure that all look for: the largest differences first.

    Args:
        opinions: two label maps or more on the same grid. Structures go by their names.

    Raises:
        InputError: fewer than two, other grids, overlaps, or no structure in common.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.review.disagreement import disagreements
        >>> one, other = np.zeros((2, 10, 10, 10), np.uint8)
        >>> one[2:6, 2:6, 2:6], other[2:6, 2:6, 2:8] = 1, 1
        >>> maps = [LabelMap(a, np.diag([5.0, 5.0, 5.0, 1.0]), [Structure(1, "liver", "Liver")]) for a in (one, other)]
        >>> row = disagreements(maps)[0]
        >>> row.volumes_ml, round(row.dice, 3), row.differing_ml
        ((8.0, 12.0), 0.8, 4.0)
    """
    rows = [_row(structure, opinions) for structure in common_structures(opinions)]
    return sorted(rows, key=lambda row: 2.0 if row.dice is None else row.dice)


def disagreement_map(opinions: Sequence[LabelMap]) -> ByteArray:
    """(K, J, I) uint8: 255 times the share of the opinions that do not have the most frequent label; so 128 where two
    differ, 0 where all agree. What is no structure of all counts as background."""
    labels = _on_common_values(opinions)
    found = np.zeros(labels[0].shape, np.uint8)
    for k, planes in enumerate(zip(*labels, strict=True)):  # slice by slice, to bound the memory
        most = np.max([np.sum([p == q for q in planes], 0) for p in planes], 0)
        found[k] = np.rint(255 * (1 - most / len(planes)))
    return found


def voted(opinions: Sequence[LabelMap], choice: Mapping[str, int] | None = None) -> LabelMap:
    """What most opinions say, voxel by voxel; where several labels have as many votes, the earliest opinion decides.

    Args:
        choice: structures, by name or title, that are taken as one opinion (its number from 0) has them.

    Returns:
        A label map of the common structures, as the first opinion lists them.

    Raises:
        InputError: see :func:`disagreements`.
        UsageError: an unknown structure or opinion.
    """
    structures = common_structures(opinions)
    taken = {known_structure(name, structures).value: number for name, number in (choice or {}).items()}
    check_choice(taken.values(), len(opinions))
    labels = _on_common_values(opinions)
    array = np.zeros_like(labels[0])
    for k, planes in enumerate(zip(*labels, strict=True)):
        # What is chosen from elsewhere has no vote.
        left = [np.where(np.isin(p, [v for v, o in taken.items() if o != n]), 0, p) for n, p in enumerate(planes)]
        votes = np.array([np.sum([p == q for q in left], 0) for p in left])
        array[k] = np.take_along_axis(np.array(left), votes.argmax(0)[None], 0)[0]
        for value, number in taken.items():
            array[k][array[k] == value] = 0
            array[k][planes[number] == value] = value
    return LabelMap(array, opinions[0].ijk_to_ras.copy(), structures)


def check_choice(numbers: Iterable[int], count: int) -> None:
    """Raise :class:`UsageError` for the number, from 0, of an opinion that there is not among so many."""
    for number in numbers:
        if not 0 <= number < count:
            raise UsageError(
                f"There is no opinion {number + 1}.", f"Choose one from 1 to {count}.", code="usage.opinion"
            )


def with_structure(label_map: LabelMap, other: LabelMap, name: str) -> LabelMap:
    """A label map in which one structure is as another one has it, and takes the place of what was there.

    Raises:
        UsageError: one of them does not list it.
        InputError: they are on different grids.
    """
    _check([label_map, other])
    mine, theirs = label_map.structure(name), other.structure(name)
    array = np.where(label_map.array == mine.value, 0, label_map.array).astype(label_map.array.dtype)
    array[other.array == theirs.value] = mine.value
    return replace(label_map, array=array)


def common_structures(opinions: Sequence[LabelMap]) -> list[Structure]:
    """The structures that all opinions look for, as the first one lists them.

    Raises:
        InputError: see :func:`disagreements`.
    """
    _check(opinions)
    first, *others = opinions
    found = [s for s in first.structures if all(structure_named(s.name, o.structures) for o in others)]
    if not found:
        names = [", ".join(s.name for s in o.structures[:4]) for o in (first, others[0])]
        raise InputError(
            f"They have no structure in common: one has {names[0]}, the other {names[1]}.",
            "Choose two models of the same structures.",
            code="input.structures",
        )
    return found


def write_disagreements(rows: Sequence[Disagreement], opinions: Sequence[str], path: Path) -> None:
    """Write a CSV with a row per structure.

    Args:
        opinions: what each is called, for the columns of the volumes.
    """
    header = ["structure", "name", "dice", "differing_ml", *(f"{name}_ml" for name in opinions), "R", "A", "S"]
    write_table(path, header, map(_cells, rows))


def _cells(row: Disagreement) -> list[object]:
    dice = "" if row.dice is None else round(row.dice, 4)
    place = ["", "", ""] if row.at is None else [round(x, 1) for x in row.at]
    return [row.title, row.name, dice, round(row.differing_ml, 2), *(round(v, 2) for v in row.volumes_ml), *place]


def _check(opinions: Sequence[LabelMap]) -> None:
    if len(opinions) < 2:
        raise InputError("There is only one opinion.", "Give a second one.", code="input.opinions")
    first = opinions[0]
    for other in opinions:
        other.without_overlaps("compared")
        if not on_same_grid(other, first, 1e-2):
            raise InputError(
                "The label maps are not on the same grid.", "Compare label maps of one volume.", code="input.grid"
            )


def _on_common_values(opinions: Sequence[LabelMap]) -> list[LabelArray]:
    """The voxels of each with the label values of the first, 0 for what is not common."""
    structures = common_structures(opinions)
    highest = max(s.value for s in structures)
    arrays: list[LabelArray] = []
    for opinion in opinions:
        lookup = np.zeros(1 + max(int(opinion.array.max(initial=0)), highest), label_dtype(highest))
        for structure in structures:
            lookup[opinion.structure(structure.name).value] = structure.value
        arrays.append(lookup[opinion.array])
    return arrays


def _row(structure: Structure, opinions: Sequence[LabelMap]) -> Disagreement:
    masks, matrix = _cut_out(structure, opinions)
    counts = [int(np.count_nonzero(mask)) for mask in masks]
    unlike = np.logical_or.reduce(masks) & ~np.logical_and.reduce(masks)
    voxel_ml = opinions[0].voxel_ml
    return Disagreement(
        structure.name,
        structure.title or structure.name,
        tuple(count * voxel_ml for count in counts),
        float(np.mean(list(_dice_of_pairs(masks, counts)))) if any(counts) else None,
        float(np.count_nonzero(unlike)) * voxel_ml,
        _thickest(unlike, replace(opinions[0], ijk_to_ras=matrix)) if unlike.any() else None,
    )


def _dice_of_pairs(masks: Sequence[MaskArray], counts: Sequence[int]) -> Iterator[float]:
    for a, b in combinations(range(len(masks)), 2):
        both = int(np.count_nonzero(masks[a] & masks[b]))
        yield 2 * both / (counts[a] + counts[b]) if counts[a] + counts[b] else 1.0


def _cut_out(structure: Structure, opinions: Sequence[LabelMap]) -> tuple[list[MaskArray], Any]:
    """The masks in the box around all of them, and its 4×4 matrix."""
    masks = [opinion.mask(structure.name) for opinion in opinions]
    boxes = [box for mask in masks if (box := box_of(mask)) is not None]
    matrix = opinions[0].ijk_to_ras
    if not boxes:
        return [mask[:1, :1, :1] for mask in masks], matrix
    box = hull(boxes)
    return [mask[box] for mask in masks], matrix_of(box, matrix)


def _thickest(mask: MaskArray, grid: LabelMap) -> tuple[float, float, float]:
    from scipy.ndimage import distance_transform_edt, label

    pieces = label(mask)[0]
    largest = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    depth = distance_transform_edt(np.pad(largest, 1), grid.spacing_kji)[1:-1, 1:-1, 1:-1]
    kji = np.unravel_index(int(depth.argmax()), depth.shape)
    return position(ijk_to_ras_points([kji[::-1]], grid.ijk_to_ras)[0])
