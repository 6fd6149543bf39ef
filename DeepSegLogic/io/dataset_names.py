"""Structure names that nnU-Net's ``dataset.json`` gives to the label maps in its folder, or in folders there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

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
        of all structures that it names, also those that do not occur; empty if there is none, it cannot be used, it
        does not name all values, or its structures overlap.
    """
    folder = path.absolute().parent
    found = next((f for f in (folder / DATASET, folder.parent / DATASET) if f.is_file()), None)
    if found is None:
        return {}
    try:
        with found.open("rb") as file:
            labels = json_of(file.read(_LONGEST))["labels"]
        names = {value: str(name) for name, value in labels.items() if type(value) is int}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    if len(names) < len(labels) or not names.keys() >= set(values):
        return {}
    return {value: name for value, name in names.items() if value in values or (value and name != IGNORE)}
