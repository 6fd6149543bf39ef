"""One case as it is read: images, labels, and which structures were looked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.affine import same_grid
from ..data.channels import on_grid_of
from ..data.label_map import LabelMap
from ..data.types import LabelArray, VolumeArray
from ..data.volume import Volume
from ..io.nifti_names import read_names
from ..io.read import read_label_map, read_volume
from ..io.slicer_scene import read_slicer_scene
from ..util.errors import InputError
from .dataset import CaseFiles
from .dataset_json import IGNORE

SAME_GRID_MM = 0.05


@dataclass(frozen=True)
class ReadCase:
    """A case as it was read.

    Attributes:
        volume: the image.
        labels: (K, J, I) on its grid.
        further: the further images, (K, J, I) on the grid of the first one.
        names: of the structures by label value, also of those that do not occur; ``"ignore"`` among them. Of structures
            that overlap, the name of the smallest one.
        structures: label values by structure, without ``"ignore"``.
        looked_for: None for all structures of the data set.
        warnings: one sentence each.
    """

    volume: Volume
    further: list[VolumeArray]
    labels: LabelArray
    names: dict[int, str]
    structures: dict[str, tuple[int, ...]]
    looked_for: frozenset[str] | None
    warnings: list[str]


def read_case(files: CaseFiles) -> ReadCase:
    """Read image and labels, and check that they belong together.

    Raises:
        InputError: one cannot be read or used, they are on different grids, or a label has no name.
        ResourceError: not enough memory.
    """
    volume, label_map = _read(files)
    labels = label_map.array
    if labels.shape != volume.shape_kji or not same_grid(label_map.ijk_to_ras, volume.ijk_to_ras, SAME_GRID_MM):
        raise InputError(
            f"{files.labels} is not on the grid of {files.image}.",
            "Resample the labels to the image's grid (nearest neighbour).",
            code="input.grid",
        )
    warnings, looked_for = [*volume.warnings], files.looked_for
    if files.names is None:
        table = read_names(files.labels) if files.labels.name.lower().endswith((".nii", ".nii.gz")) else {}
        occurring = {s.value: s.name for s in label_map.structures}
        warnings += label_map.warnings
        names = table | occurring
        if looked_for is None and not any("does not name" in w for w in label_map.warnings):
            looked_for = frozenset(names.values())
    else:
        names = dict(files.names)
        unknown = sorted(set(np.unique(labels).tolist()) - {0, *names})
        if unknown:
            raise InputError(
                f"{files.labels} has the value {unknown[0]}, which dataset.json does not name.",
                "Add it there, or remove it from the labels.",
                code="input.labels",
            )
    further = []
    for path in files.further:
        array, doubts = on_grid_of(volume, read_volume(path), path.name)
        further.append(array)
        warnings += doubts
    if files.regions is not None:
        structures = dict(files.regions.values)
    else:
        structures = {name: (value,) for value, name in names.items() if name != IGNORE}
    return ReadCase(volume, further, labels, names, structures, looked_for, warnings)


def _read(files: CaseFiles) -> tuple[Volume, LabelMap]:
    if not files.is_scene:
        return read_volume(files.image), read_label_map(files.labels).without_overlaps("trained on")
    scene = read_slicer_scene(files.image)
    if scene.label_map is None:
        why = " ".join(scene.volume.warnings)
        raise InputError(
            f"{files.image} has no segmentation that can be trained on. {why}".rstrip(),
            "In 3D Slicer, segment its volume without overlaps and save the scene again.",
            code="input.labels",
        )
    return scene.volume, scene.label_map
