"""Files that hold segments: 3D Slicer's ``.seg.nrrd``, DICOM SEG and RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

from ..data.label_grid import placed_on
from ..data.label_map import LabelMap
from ..data.volume import Volume
from . import files, headers
from .headers.formats import NRRD
from .result_files import label_map_in

SEGMENTATION_SUFFIXES = (".seg.nrrd", ".seg.nhdr")


def holds_segments(path: Path) -> bool:
    """Whether a file is 3D Slicer's segmentation, whatever its name."""
    if path.name.lower().endswith(SEGMENTATION_SUFFIXES):
        return True
    if not path.name.lower().endswith((".nrrd", ".nhdr")) or headers.check(path).reader != NRRD:
        return False
    from .seg_nrrd_reader import is_segmentation

    return is_segmentation(path)


def label_file(path: Path) -> Path:
    """The file of a label map: that in a folder of results, or the only one below a folder; else the path itself."""
    if (of_result := label_map_in(path)) is not None:
        return of_result
    if not path.is_dir():
        return path
    from .dicom.series import files_below  # which takes a while to import

    inside = list(files_below(path))
    return inside[0] if len(inside) == 1 else path


def holds_segmentation(path: Path) -> bool:
    """Whether a file, or that of a folder (:func:`label_file`), is a segmentation and no volume.

    Raises:
        InputError: the file is missing or damaged.
    """
    from .dicom import label_reader_of

    files.must_exist(path)
    file = label_file(path)
    if not file.is_file():
        return False
    return label_reader_of(file) is not None if files.is_dicom(file) else holds_segments(file)


def read_segmentation_of(volume: Volume, path: Path, tolerance_mm: float = 1e-3) -> LabelMap:
    """Read a segmentation of a volume, as :func:`~DeepSegLogic.io.read.read_label_map` does.

    Args:
        volume: if it was read from DICOM files, a DICOM segmentation of another patient is refused.
        tolerance_mm: by which the grids may differ.

    Returns:
        on the volume's grid.

    Raises:
        InputError: another patient's, on other voxels, or not a segmentation.
        ResourceError: not enough memory.
    """
    from .read import read_label_map

    file = label_file(path)
    of_dicom = file.is_file() and files.is_dicom(file)
    label_map = read_label_map(file, volume.source or None if of_dicom else None)
    if of_dicom and not volume.source:
        label_map.warnings.append(
            f"{volume.name} was not opened from DICOM files: whether {file.name} is of the same patient is unknown."
        )
    return placed_on(volume, label_map, tolerance_mm)
