"""The label map in a folder of results, in whatever format it was written."""

from __future__ import annotations

from pathlib import Path

LABEL_MAP_FILES = {
    "seg.nrrd": "segmentation.seg.nrrd",
    "nii.gz": "segmentation.nii.gz",
    "dcm-seg": "segmentation.seg.dcm",
    "dcm-labelmap": "segmentation.labelmap.dcm",
    "rtstruct": "segmentation.rtstruct.dcm",
}
"""Names of formats and of their files; the first that is there is read, as it keeps most."""


def label_maps_in(folder: Path) -> list[Path]:
    """The files of the label map in a folder of results, in the order of :data:`LABEL_MAP_FILES`."""
    return [folder / name for name in LABEL_MAP_FILES.values() if (folder / name).is_file()]


def label_map_in(folder: Path) -> Path | None:
    """The file of the label map in a folder of results; None if it is no such folder."""
    return next(iter(label_maps_in(folder)), None)


def holds_voxels(label_map: Path) -> bool:
    """Whether a label map in a folder of results holds voxels, not contours, which do not give them back exactly."""
    return label_map.name != LABEL_MAP_FILES["rtstruct"]


def is_of_result(path: Path) -> bool:
    """Whether a file is called like the label map in a folder of results."""
    return path.name in LABEL_MAP_FILES.values()
