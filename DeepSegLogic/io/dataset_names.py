"""Structure names that nnU-Net's ``dataset.json`` gives to the label maps in its folder, or in folders there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..util.json_text import json_of

DATASET = "dataset.json"
IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody labelled."""
_LONGEST = 2**20  # bytes


def names_beside(path: Path, values: Collection[int]) -> dict[int, str]:
    """Names by label value, from the ``dataset.json`` beside a label map or in the folder above.

    nnU-Net writes one beside its predictions, and has one above ``labelsTr``.

    Args:
        values: that occur in the label map.

    Returns:
        of all structures that it names, also those that do not occur; empty if there is none, it cannot be used, or it
        does not name all values.
    """
    folder = path.absolute().parent
    found = next((f for f in (folder / DATASET, folder.parent / DATASET) if f.is_file()), None)
    if found is None:
        return {}
    try:
        with found.open("rb") as file:
            content = json_of(file.read(_LONGEST))
        labels = {str(name): _values(value) for name, value in content["labels"].items()}
        inside = {name: own for name, own in labels.items() if name != IGNORE and own != {0}}
        names = {value: name for name, own in labels.items() if name not in inside for value in own}
        if any(len(own) > 1 for own in inside.values()):
            names |= _names_in_regions(inside, content["regions_class_order"], values)
        else:
            names |= {value: name for name, own in inside.items() for value in own}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    if not names.keys() >= set(values):
        return {}
    return {value: name for value, name in names.items() if value in values or (value and name != IGNORE)}


def remaining_names(regions: Mapping[str, Collection[int]]) -> list[str]:
    """Names of what later regions leave of each, in a label map to which they are written one after the other.

    Example:
        >>> from DeepSegLogic.io.dataset_names import remaining_names
        >>> remaining_names({"kidney": {1, 2, 3}, "masses": {2, 3}, "tumor": {2}})
        ['kidney_without_masses', 'masses_without_tumor', 'tumor']
    """
    names, own = list(regions), [set(values) for values in regions.values()]
    blank = " " if any(" " in name for name in names) else "_"
    found = list(names)
    for index, region in enumerate(own):
        later = [n for n in range(index + 1, len(own)) if own[n] & region]
        parts = [names[n] for n in later if not any(own[n] < own[other] for other in later)]
        if parts:
            found[index] += f"{blank}without{blank}" + f"{blank}and{blank}".join(parts)
    return found


def _values(value: Any) -> set[int]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) is int for one in values):
        raise ValueError("no label value")
    return set(values)


def _names_in_regions(regions: Mapping[str, set[int]], order: list[int], values: Collection[int]) -> dict[int, str]:
    """Names by value where regions overlap. Each value means the last region that holds it, which nnU-Net writes there.

    A label map that people drew may divide a region into values that its names do not tell apart: these get numbers.

    Raises:
        ValueError, TypeError: the order is none of these regions.
    """
    last = {value: index for index, own in enumerate(regions.values()) for value in own}
    if [last.get(value) for value in order] != list(range(len(regions))):
        raise ValueError("regions_class_order")
    found: dict[int, str] = {}
    for index, name in enumerate(remaining_names(regions)):
        own = {value for value in last if last[value] == index}
        divided = bool(own.intersection(values) - {order[index]})
        found |= {value: f"{name}_{value}" for value in own} if divided else {order[index]: name}
    return found
