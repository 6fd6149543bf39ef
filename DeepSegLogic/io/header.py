"""What ITK lets pass in a file's header and users would only find out from a wrong result."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..volume_checks import not_finite
from .atomic import is_unicode

NO_ORIENTATION = "The file does not say how the patient lies: left and right may be swapped."
_PATIENT_SPACES = ("ras", "las", "lps", "rast", "last", "lpst")
_HEAD_BYTES = 2**22  # of text before the voxels, at most


def check(path: Path) -> list[str]:
    """Check a file before ITK reads it: complete, with positive voxel sizes and a rectangular grid.

    ITK fills the missing part of a truncated file with zeros, takes the absolute value of a negative voxel
    size, makes 0 of voxels of a NIfTI that are not numbers, and may make a sheared grid rectangular, all without
    a word.

    Returns:
        what the header leaves open, one sentence each.

    Raises:
        InputError: it is not so.
    """
    name = path.name.lower()
    try:
        zipped, nifti = _content(path)
        fitting = (".nii.gz", ".hdr", ".img") if zipped else (".nii", ".nii.gz", ".hdr", ".img")
        if nifti and not name.endswith(fitting):
            raise InputError(
                f"{path} is {'compressed ' if zipped else ''}NIfTI, but its name does not say so.",
                f"Rename it so that it ends in {fitting[0]}.",
                code="input.format",
            )
        if is_nrrd(path):
            return _check_nrrd(path)
        if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
            _check_nifti(path, zipped)  # what it leaves open, ITK tells: see DeepSegLogic.io.reading
            return []
        if name.endswith((".mha", ".mhd")):
            return _check_meta(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(path) from error
    except ValueError as error:  # what should be a number is none
        raise InputError(f"{path} has a damaged header.", "Copy or export it again.", code="input.format") from error
    except OSError as error:
        raise _cannot_open(path, error) from error
    return ["This format may state neither voxel size nor orientation: check both, or use NIfTI, NRRD or DICOM."]


def check_enclosed(path: Path) -> None:
    """Check that the header of a file from elsewhere leads to no file but one beside it.

    Raises:
        InputError: its voxels are in several files, or in another folder.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"NRRD"):
        named = re.findall(rb"(?im)^[ \t]*data ?file[ \t]*:(.*)$", head)
        whole = len(head) < _HEAD_BYTES or re.search(rb"\n\r?\n", head)
    elif path.suffix.lower() in (".mha", ".mhd"):
        named = re.findall(rb"(?m)ElementDataFile[ \t]*[=:](.*)$", head)
        whole = bool(named)
        named = [name for name in named if name.strip().upper() != b"LOCAL"]
    else:
        return
    folder, names = path.parent.resolve(), [name.strip().decode("utf-8", "replace") for name in named]
    whole = whole and not any("\0" in name or len(name) > 255 for name in names)  # which are no names of files
    targets = [(folder / name.replace("\\", "/")).resolve() for name in names] if whole else []
    inside = whole and all(target.parent == folder for target in targets)
    if inside and len(targets) == 1 and targets[0].suffix and "%" not in targets[0].name:
        _must_be_beside(path, targets[0].name)
    if not inside or not all(target.is_file() for target in targets):
        raise InputError(
            f"{path} leads to other files than itself.",
            "Give the volume as one file, for instance .nrrd or .nii.gz.",
            code="input.outside",
        )


def is_nrrd(path: Path) -> bool:
    """Whether a file says of itself that it is NRRD."""
    with path.open("rb") as file:
        return file.read(4) == b"NRRD"


def is_dicom(path: Path) -> bool:
    """Whether a file's first bytes are DICOM's: with the preamble, or as old archives have it, without.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise _cannot_open(path, error) from error
    first_element = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
    return len(head) == 132 and (head[128:] == b"DICM" or first_element)


def is_slice(path: Path) -> bool:
    """As :func:`is_dicom`; a file that cannot be opened is none."""
    try:
        return is_dicom(path)
    except InputError:
        return False


def must_be_unicode(path: Path) -> None:
    """Raise :class:`InputError` for a name with which ITK would end the program."""
    if not is_unicode(path):
        raise InputError(
            f"{path} has a name that is not Unicode.", "Rename it, or the folder that it lies in.", code="input.name"
        )


def truncated(path: Path) -> InputError:
    """The error for a file that ends too early."""
    return InputError(
        f"{path} is truncated: it holds less data than its header announces.",
        "Copy or export the file again.",
        code="input.truncated",
    )


def _cannot_open(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be opened ({error.strerror or error}).",
        "Check the file and its permissions.",
        code="input.missing",
    )


def _content(path: Path) -> tuple[bool, bool]:
    """Whether the file is compressed by gzip, and whether it is a NIfTI-1 in one file."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with (gzip.open if zipped else open)(path, "rb") as file:
        return zipped, file.read(348)[344:347] == b"n+1"


def _check_nifti(path: Path, zipped: bool) -> None:
    pair = path.name.lower().endswith((".hdr", ".img"))
    opener = gzip.open if zipped else open
    with opener(path.with_suffix(".hdr") if pair else path, "rb") as file:
        head = file.read(348)
    order = next((o for o in "<>" if head[:4] in (struct.pack(f"{o}i", 348), struct.pack(f"{o}i", 540))), None)
    if order is None or len(head) < 348:
        raise InputError(f"{path} is not a NIfTI file.", "Export the volume again.", code="input.format")
    if head[:4] == struct.pack(f"{order}i", 540):
        raise InputError(
            f"{path} is NIfTI-2, which cannot be read.", "Save it as NIfTI-1 or NRRD.", code="input.format"
        )
    dim = struct.unpack(f"{order}8h", head[40:56])
    kind, bits = struct.unpack(f"{order}2h", head[70:74])
    pixdim = struct.unpack(f"{order}8f", head[76:108])
    offset = struct.unpack(f"{order}f", head[108:112])[0]
    sform = struct.unpack(f"{order}h", head[254:256])[0]
    srow = np.array(struct.unpack(f"{order}12f", head[280:328])).reshape(3, 4)
    _check_spacing(path, pixdim[1:4])
    if sform > 0:
        _check_columns(path, srow[:, :3])
    voxels = int(np.prod([max(1, int(d)) for d in dim[1 : min(max(dim[0], 0), 7) + 1]]))
    number = np.dtype({16: f"{order}f4", 64: f"{order}f8"}.get(kind, "u1"))
    with opener(path.with_suffix(".img") if pair else path, "rb") as file:
        file.read(int(offset) if 0 < offset < 2**31 else 0)
        size = bad = 0
        while block := file.read(2**22):  # to the end, where gzip has its checksum
            if number.kind == "f":
                numbers = np.frombuffer(block, number, len(block) // number.itemsize)
                bad += np.count_nonzero(~np.isfinite(numbers))
            size += len(block)
    if size < voxels * bits // 8:
        raise truncated(path)
    if bad:
        raise not_finite(path, bad)


def _check_nrrd(path: Path) -> list[str]:
    """ITK itself finds short data; it does not find zero or skew directions."""
    fields = _nrrd_fields(path)
    directions = fields.get("space directions")
    if directions is not None:
        vectors = [v for v in directions.replace("none", "").split(")") if "(" in v]
        matrix = np.array([[float(x) for x in v.split("(")[1].split(",")] for v in vectors], float)
        if matrix.shape == (3, 3):
            _check_columns(path, matrix.T)
    elif "spacings" in fields:
        _check_spacing(path, [float(s) for s in fields["spacings"].split() if s.lower() != "nan"])
    data = fields.get("data file", fields.get("datafile", ""))
    if data and "%" not in data and not data.upper().startswith("LIST"):
        _must_be_beside(path, data)
    units = set(re.findall(r'"(.*?)"', fields.get("space units", ""))) - {"", "mm", "???"}
    if units:
        raise InputError(
            f"{path} states its voxel size in {', '.join(sorted(units))}.", "Save it in mm.", code="input.spacing"
        )
    space = fields.get("space", "").lower()  # others, as scanner-xyz, do not say how the patient lies
    patient = space in _PATIENT_SPACES or space.split("-")[0] in ("left", "right")
    return _left_open(directions or fields.get("spacings"), patient)


def _nrrd_fields(path: Path) -> dict[str, str]:
    fields = {}
    with path.open("rb") as file:
        for _ in range(5000):
            line = file.readline(2**16).decode("utf-8", "replace").strip()
            if not line:
                break
            name, colon, value = line.partition(":")
            if colon and not value.startswith("="):
                fields[name.lower()] = value.strip()
    return fields


def _check_meta(path: Path) -> list[str]:
    fields = {}
    with path.open("rb") as file:
        for _ in range(200):
            line = file.readline(2**16).decode("utf-8", "replace").strip()
            name, equals, value = line.partition("=")
            if not equals:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                offset = file.tell()
                break
        else:
            return []
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    _check_spacing(path, [float(s) for s in spacing.split()])
    data = fields.get("ElementDataFile")
    if data is None:
        raise truncated(path)
    if data != "LOCAL" and "%" not in data and data != "LIST":
        data_path = path.parent / data
        _must_be_beside(path, data)
    else:
        data_path = path
    if data in ("LOCAL", data_path.name):
        available = data_path.stat().st_size - (offset if data == "LOCAL" else 0)
        if available < _meta_bytes(fields):
            raise truncated(path)
    return _left_open(spacing, fields.get("TransformMatrix", fields.get("Orientation", fields.get("Rotation"))))


def _left_open(spacing: str | None, orientation: str | bool | None) -> list[str]:
    doubts = [] if spacing else ["The file states no voxel size; 1 mm is taken."]
    return doubts if orientation else [*doubts, NO_ORIENTATION]


def _must_be_beside(path: Path, data: str) -> None:
    if not (path.parent / data).is_file():
        raise InputError(
            f"{path} refers to its data file {data}, which is not beside it.",
            "Give both files together.",
            code="input.missing",
        )


def _meta_bytes(fields: dict[str, str]) -> int:
    """How many bytes of data a MetaImage header announces, as far as it can be told."""
    if fields.get("CompressedData", "False").lower() == "true":
        return int(fields.get("CompressedDataSize", 0))
    size = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "DOUBLE": 8}
    kind = fields.get("ElementType", "").removeprefix("MET_").removeprefix("U")
    voxels = int(np.prod([int(d) for d in fields.get("DimSize", "0").split()]))
    return voxels * size.get(kind, 0) * int(fields.get("ElementNumberOfChannels", 1))


def _check_spacing(path: Path, spacing) -> None:
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        shown = ", ".join(f"{s:g}" for s in spacing)
        raise InputError(
            f"{path} has no usable voxel size: its header says {shown} mm.", "Correct its header.", code="input.spacing"
        )


def _check_columns(path: Path, matrix: np.ndarray) -> None:
    """``matrix``: voxel directions times spacing in its columns."""
    lengths = np.linalg.norm(matrix, axis=0)
    _check_spacing(path, lengths)
    directions = matrix / lengths
    skew = np.abs(directions.T @ directions - np.eye(3)).max()
    if skew > 1e-2:  # headers are rounded; a gantry tilt is several degrees (0.05 and more)
        angle = np.degrees(np.arcsin(min(1.0, skew)))
        raise InputError(
            f"{path} has a sheared grid: two axes differ by {angle:.1f}° from a right angle.",
            "Resample it onto a rectangular grid, for instance in Slicer by hardening its transform.",
            code="input.geometry",
        )
