"""Checks of image headers, before ITK reads them.

ITK takes the absolute value of a negative voxel size, may make a sheared grid rectangular, reads any file that a
header names, and crashes on numbers and texts that are too long. Users would see that only as a wrong result, a crash
or a leak.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from ...data.itk import itk_opens
from ..files import beside, opened, refers_elsewhere
from . import formats, meta, nifti, nrrd
from .fields import parsing

_CHECKS = {formats.NIFTI: nifti.check, formats.NRRD: nrrd.check, formats.META: meta.check}
_HEAD_BYTES = 2**22  # longest text before the voxels
_FILE_OF_NRRD = rb"(?im)^[ \t]*data ?file[ \t]*:(.*)$"
_FILE_OF_META = rb"(?m)ElementDataFile[ \t]*[=:](.*)$"


class Checked(NamedTuple):
    """What a header says.

    Attributes:
        reader: name of ITK's reader for the file.
        announced: bytes of voxels.
        doubts: what the header does not say, one sentence each.
    """

    reader: str
    announced: int
    doubts: list[str]


def check(path: Path) -> Checked:
    """Check a header: sound, positive voxel sizes, a rectangular grid, voxels in the file or beside it.

    Raises:
        InputError: the header fails a check.
    """
    with parsing(path):
        reader = formats.image_io(path)
        check_enclosed(path)
        return Checked(reader, *_CHECKS[reader](path))


def check_voxels(path: Path) -> None:
    """Check that the voxels of a NIfTI are complete and finite. ITK silently replaces missing ones by 0.

    Raises:
        InputError: they are not.
    """
    with parsing(path):
        if formats.image_io(path) == formats.NIFTI:
            nifti.check_voxels(path)


def voxels(path: Path) -> npt.NDArray[Any] | None:
    """The voxels (K, J, I) of a NIfTI, checked as by :func:`check_voxels`, for which it is read to the end anyway.

    Returns:
        None if ITK has to read the voxels: other formats, scaled ones, colours, more axes, another order of bytes.
    """
    with parsing(path):
        return nifti.voxels(path) if formats.image_io(path) == formats.NIFTI else None


def corrected(path: Path, folder: Callable[[], Path]) -> tuple[Path, list[str]] | None:
    """A copy of a NIfTI that ITK reads as the standard means it, see :func:`.nifti.corrected`; None if none is needed.

    Args:
        folder: makes one for the copy.
    """
    with parsing(path):
        return nifti.corrected(path, folder) if formats.image_io(path) == formats.NIFTI else None


def openable_copy(path: Path, folder: Callable[[], Path]) -> Path | None:
    """A copy of a header and of the file with its voxels, if ITK cannot open that by the name in the header.

    Args:
        path: a header that was checked.
        folder: makes one for the copies.
    """
    with opened(path) as file:
        head = file.read(_HEAD_BYTES)
    found = re.search(_FILE_OF_NRRD if head.startswith(b"NRRD") else _FILE_OF_META, head)
    name = "" if found is None else found[1].strip().decode("utf-8", "replace")
    if found is None or itk_opens(name):
        return None
    copies = folder()
    shutil.copy(beside(path, name), copies / "voxels.raw")
    copy = copies / f"header{path.suffix}"
    copy.write_bytes(head[: found.start(1)] + b" voxels.raw" + head[found.end(1) :])
    return copy


def check_enclosed(path: Path) -> None:
    """Check that a header refers to no file but one beside it.

    Raises:
        InputError: its voxels are in several files, or in another folder.
    """
    with opened(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"NRRD"):
        found = re.findall(_FILE_OF_NRRD, head)
        complete = len(head) < _HEAD_BYTES or re.search(rb"\n\r?\n", head) is not None
    elif path.suffix.lower() in (".mha", ".mhd"):
        found = re.findall(_FILE_OF_META, head)
        complete = len(head) < _HEAD_BYTES or bool(found)
        found = [name for name in found if name.strip().upper() != b"LOCAL"]
    else:
        return
    names = [name.strip().decode("utf-8", "replace") for name in found]
    if not complete or len(names) > 1 or any("%" in name or name.upper().startswith("LIST") for name in names):
        raise refers_elsewhere(path)
    for name in names:
        beside(path, name)
