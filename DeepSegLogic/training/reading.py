"""One case as it is read: images, labels, and which structures were looked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data.channels import on_grid_of
from ..data.label_grid import SAME_GRID_MM
from ..data.label_map import LabelMap
from ..data.types import LabelArray, MaskArray, VolumeArray
from ..data.volume import Volume
from ..io.dataset_names import IGNORE
from ..io.nifti_names import read_names
from ..io.read import UNNAMED, read_volume
from ..io.segmentations import holds_segments, read_segmentation_of
from ..io.segments import OVERLAP
from ..io.slicer_scene import read_slicer_scene
from ..util.errors import InputError
from .dataset import CaseFiles
from .regions import Combination, Regions, combinations_of, combined


@dataclass(frozen=True)
class ReadCase:
    """A case as it was read.

    Attributes:
        volume: the image.
        labels: (K, J, I) on its grid.
        further: the further images, (K, J, I) on the grid of the first one.
        names: of the structures by label value, also of those that do not occur; ``"ignore"`` among them. Of structures
            that overlap, the name of the smallest one.
        structures: label values by structure, without ``"ignore"``; several, and shared ones, if structures overlap.
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

    @property
    def counted(self) -> MaskArray:
        """(K, J, I) bool: the voxels that are not to be ignored."""
        return ~np.isin(self.labels, [value for value, name in self.names.items() if name == IGNORE])

    def combinations(self) -> dict[int, Combination]:
        """The structures that the voxels of each label value belong to; ``"ignore"`` has none."""
        members = combinations_of(self.structures)
        return {value: members.get(value, frozenset()) for value in self.names}


def read_case(files: CaseFiles) -> ReadCase:
    """Read image and labels, and check that they belong together.

    Raises:
        InputError: one cannot be read or used, they are on different grids, or a label has no name.
        ResourceError: not enough memory.
    """
    volume, label_map = _read(files)
    labels = label_map.array
    warnings, looked_for = [*volume.warnings], files.looked_for
    by_segment = _names_of_segments(files, label_map)
    if files.names is None:
        table = read_names(files.labels) if files.labels.name.lower().endswith((".nii", ".nii.gz")) else {}
        names = table | {s.value: s.name for s in label_map.structures}
        warnings += [w for w in label_map.warnings if not w.endswith(OVERLAP)]  # the checks name what overlaps
        if looked_for is None and not any(UNNAMED in w for w in label_map.warnings):
            looked_for = frozenset(names.values())
    else:
        names = by_segment or dict(files.names)
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
    structures: dict[str, tuple[int, ...]] = {name: (value,) for value, name in names.items() if name != IGNORE}
    if label_map.layers:
        labels, names, structures = _overlapping(label_map, names)
    elif files.regions is not None and by_segment is None:
        structures = dict(files.regions.values)
    case = ReadCase(volume, further, labels, names, structures, looked_for, warnings)
    return case if files.model is None else _in_words_of(files.model, case)


def _in_words_of(model: Regions, case: ReadCase) -> ReadCase:
    """A case with the names that a model has for its structures, if it is a result of it.

    A label of a result may stand for what one structure leaves of another, such as ``liver_without_tumor``. A structure
    was looked for if all labels were in which it is.
    """
    written = model.written()
    if not any(name in written and name not in model.values for name in case.names.values()):
        return case
    asked = frozenset(case.names.values()) if case.looked_for is None else case.looked_for
    parts = {name: frozenset(label for label, own in written.items() if name in own) for name in model.values}
    known = {name for name, own in parts.items() if own <= asked} - model.hidden()
    warnings = list(case.warnings)
    for name, own in parts.items():
        if name not in known and own & asked:
            why = f"that needs {' and '.join(sorted(own))}" if own - asked else "others are written over it"
            warnings.append(f"{name} is not learnt from this case: {why}.")
    combinations = {
        value: frozenset[str]().union(*(written.get(name, {name}) for name in names))
        for value, names in case.combinations().items()
    }
    order = [*model.values, *(name for name in case.structures if name not in written)]
    return replace(
        case,
        names={v: max(own, key=order.index) if own else case.names[v] for v, own in combinations.items()},
        structures={
            name: tuple(v for v, own in combinations.items() if name in own)
            for name in order
            if name in known or name not in model.values
        },
        looked_for=frozenset(known) | (asked - written.keys() - {IGNORE}),
        warnings=warnings,
    )


def _names_of_segments(files: CaseFiles, label_map: LabelMap) -> dict[int, str] | None:
    """What ``dataset.json`` calls the segments of a file; None if its label values are what counts.

    3D Slicer gives segments in different layers the same value, so that those are told apart by their names.

    Raises:
        InputError: segments overlap, and ``dataset.json`` does not know one by its name.
    """
    if files.names is None or not holds_segments(files.labels) or (files.regions is not None and not label_map.layers):
        return None
    regions = files.regions.values if files.regions is not None else ()
    known = {name.casefold(): name for name in (*files.names.values(), *regions)}
    names: dict[int, str] = {}
    for segment in label_map.structures:
        name = known.get(segment.title.casefold()) or known.get(segment.name.casefold())
        if name is not None and name not in names.values():
            names[segment.value] = name
        elif label_map.layers:
            raise InputError(
                f"{files.labels} has the segment {segment.title}, which dataset.json does not name.",
                "Add it there, or rename the segment: where segments overlap, their names count.",
                code="input.labels",
            )
        else:
            return None
    return names


def _overlapping(
    label_map: LabelMap, names: dict[int, str]
) -> tuple[LabelArray, dict[int, str], dict[str, tuple[int, ...]]]:
    """Labels, names by label, and labels by structure of layers: a label stands for a combination of structures."""
    labels, members = combined(label_map)
    counts = np.bincount(labels.ravel())
    sizes = {value: sum(counts[label] for label, own in members.items() if value in own) for value in names}
    smallest = {label: names[min(own, key=sizes.__getitem__)] for label, own in members.items()}
    ignored = {label for label, own in members.items() if IGNORE in (names[value] for value in own)}
    structures = {
        name: tuple(label for label, own in members.items() if value in own and label not in ignored)
        for value, name in names.items()
        if name != IGNORE
    }
    return labels, smallest | dict.fromkeys(ignored, IGNORE), structures


def _read(files: CaseFiles) -> tuple[Volume, LabelMap]:
    if not files.is_scene:
        volume = read_volume(files.image)
        try:
            return volume, read_segmentation_of(volume, files.labels, SAME_GRID_MM)
        except InputError as error:
            if error.code != "input.grid":
                raise
            raise InputError(
                f"{files.labels} is not on the grid of {files.image}.",
                "Resample the labels to the image's grid (nearest neighbour).",
                code="input.grid",
            ) from error
    scene = read_slicer_scene(files.image)
    if scene.label_map is None:
        why = " ".join(scene.volume.warnings)
        raise InputError(
            f"{files.image} has no segmentation that can be trained on. {why}".rstrip(),
            "In 3D Slicer, segment its volume and save the scene again.",
            code="input.labels",
        )
    return scene.volume, scene.label_map
