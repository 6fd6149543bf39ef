"""The format of a file, from its name and its first bytes.

ITK itself would ask all of its readers. Some of them open any other file that a header names.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from ...util.errors import InputError
from ..files import opened

NIFTI, NRRD, META = "NiftiImageIO", "NrrdImageIO", "MetaImageIO"
FILES = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)"
FORMATS = f"{FILES}, or a folder of DICOM slices"
_PAIR = (".hdr", ".img")
_SUFFIXES = {NIFTI: (".nii", ".nii.gz", *_PAIR), NRRD: (".nrrd", ".nhdr"), META: (".mha", ".mhd")}
_OTHERS = (  # pattern of the first bytes → what the file is, for the message; unknown files are refused, too
    (rb"(.{512}|.{1024}|.{2048})?\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb"CDF[\x01\x02\x05]", "a NetCDF or MINC file"),
    (rb"\s*(numDim|dim|sdtOrient\w*|dataType|stimFileName)[ \t]*:", "a Stimulate file"),
    (rb"# vtk DataFile", "a VTK file"),
    (rb"(\xef\xbb\xbf)?\s*<", "an XML file"),
    (rb"(II[*+]\0|MM\0[*+])", "a TIFF picture, which has no voxel size in mm"),
    (rb"\x89PNG", "a PNG picture, which is 2D"),
    (rb"\xff\xd8\xff", "a JPEG picture, which is 2D"),
    (rb"(\0\0\0\x0cjP  |\xff\x4f\xff\x51)", "a JPEG 2000 picture, which is 2D"),
    (rb"GIF8", "a GIF picture, which is 2D"),
    (rb"BM.{4}\0\0\0\0", "a BMP picture, which is 2D"),
    (rb".{208}MAP ", "an MRC file"),
    (rb".{252}(\x2a\xe3\x89\xb8|\xb8\x89\xe3\x2a|\xef\xff\xe9\xb0|\xb0\xe9\xff\xef)", "a GIPL file"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"MATLAB", "a MATLAB file"),
    (rb"\x93NUMPY", "a NumPy file"),
    (rb"(BZh|\xfd7zXZ\0|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd)", "a compressed file"),
    (rb"NRRD\d{4}", "NRRD, and its name says another format"),
    (rb"\s*(ObjectType|NDims)[ \t]*=", "MetaImage, and its name does not end in .mha or .mhd"),
)


def image_io(path: Path) -> str:
    """The name of ITK's reader for a file: ``NIFTI``, ``NRRD`` or ``META``. The header is not checked here.

    Raises:
        InputError: the file has another format, or its name says so.
        EOFError, zlib.error, gzip.BadGzipFile: the file is compressed and damaged.
    """
    name = path.name.lower()
    with opened(path) as file:
        head = file.read(8192)
        zipped = head[:2] == b"\x1f\x8b"
        if zipped:
            file.seek(0)
            head = gzip.GzipFile(fileobj=file).read(8192)
    if head[344:347] == b"n+1":
        fitting = ".nii.gz" if zipped else ".nii"
        if not name.endswith((fitting, ".nii.gz")):
            raise InputError(
                f"{path} is {'compressed ' if zipped else ''}NIfTI, but its name does not end so.",
                f"Rename it so that it ends in {fitting}.",
                code="input.format",
            )
        return NIFTI
    told = next((reader for reader, suffixes in _SUFFIXES.items() if name.endswith(suffixes)), None)
    if re.match(rb"NRRD000\d", head) and not zipped and told in (NRRD, None):
        return NRRD
    if told == META and not zipped and re.search(rb"^\s*NDims\s*[=:]", head, re.MULTILINE):
        return META
    other = next((what for pattern, what in _OTHERS if re.match(pattern, head, re.DOTALL)), "")
    if told == NIFTI and (name.endswith(_PAIR) or not other):
        return NIFTI
    raise not_an_image(path, f"{other}, compressed by gzip" if other and zipped else other)


def not_an_image(path: Path, what: str = "") -> InputError:
    """The error for a file of another format."""
    but = f", but {what}" if what else ""
    return InputError(f"{path} is not an image that can be read{but}.", f"Choose {FORMATS}.", code="input.format")
