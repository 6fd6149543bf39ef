"""The label map of a command that measures it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.volume import Volume


def placed_labels(console: Console, labels: Path, image: Path | None) -> tuple[LabelMap, Volume | None]:
    """Read a label map, and tell its warnings; also its CT, where it had to be read.

    With the CT it has the CT's grid: 3D Slicer leaves out empty margins, at whose edges structures would count as cut.

    Raises:
        InputError: a file cannot be read, or the label map does not have the voxels of the CT.
    """
    from ..data.label_grid import placed_on
    from ..io.files import is_dicom
    from ..io.segmentations import label_file
    from ..worker.isolated import IsolatedReader

    with IsolatedReader(console.cancelled) as read:
        label_map, volume = read.label_map(labels, image), None
        if image is not None and not is_dicom(label_file(labels)):  # which has the CT's grid already
            volume = read.volume(image)
            label_map = placed_on(volume, label_map)
    for sentence in label_map.warnings:
        console.warning(sentence)
    return label_map, volume
