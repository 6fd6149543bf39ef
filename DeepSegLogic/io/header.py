"""What ITK lets pass in a file's header and users would only find out from a wrong result."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError

_HEAD_BYTES = 2**22  # of text before the voxels, at most


def check(path: Path) -> None:
    """Check a file before ITK reads it: complete, with positive voxel sizes and a rectangular grid.

    ITK fills the missing part of a truncated file with zeros, takes the absolute value of a negative voxel
    size, and may make a sheared grid rectangular, all without a word.

    Raises:
        InputError: it is not so.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        if zipped:
            _check_gzip(path)
        if is_nrrd(path):
            _check_nrrd(path)
        elif path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img")):
            _check_nifti(path, zipped)
        elif path.suffix.lower() in (".mha", ".mhd"):
            _check_meta(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror or error}).",
            "Check the file and its permissions.",
            code="input.missing",
        ) from error


def check_enclosed(path: Path) -> None:
    """Check that the header of a file from elsewhere leads to no file but one beside it.

    Raises:
        InputError: its voxels are in several files, or in another folder.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"NRRD"):
        named = re.findall(rb"(?im)^[ \t]*data ?file[ \t]*:[ \t]*(.*?)[ \t\r]*$", head)
        whole = len(head) < _HEAD_BYTES or re.search(rb"\n\r?\n", head)
    elif path.suffix.lower() in (".mha", ".mhd"):
        named = re.findall(rb"(?m)ElementDataFile[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", head)
        whole = bool(named)
        named = [name for name in named if name.upper() != b"LOCAL"]
    else:
        return
    folder = path.parent.resolve()
    targets = [(folder / name.decode("utf-8", "replace").replace("\\", "/")).resolve() for name in named]
    if not whole or not all(target.parent == folder and target.is_file() for target in targets):
        raise InputError(
            f"{path} leads to other files than itself.",
            "Give the volume as one file, for instance .nrrd or .nii.gz.",
            code="input.outside",
        )


def is_nrrd(path: Path) -> bool:
    """Whether a file says of itself that it is NRRD."""
    with path.open("rb") as file:
        return file.read(4) == b"NRRD"


def truncated(path: Path) -> InputError:
    """The error for a file that ends too early."""
    return InputError(
        f"{path} is truncated: it holds less data than its header announces.",
        "Copy or export the file again.",
        code="input.truncated",
    )


def _check_gzip(path: Path) -> None:
    try:
        with gzip.open(path) as file:
            while file.read(2**22):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(path) from error


def _check_nifti(path: Path, zipped: bool) -> None:
    opener = gzip.open if zipped else open
    with opener(path, "rb") as file:
        head = file.read(540)
        size = len(head)
        if not path.name.lower().endswith((".hdr", ".img")):
            while block := file.read(2**22):
                size += len(block)
    if len(head) < 348:
        raise InputError(f"{path} is not a NIfTI file.", "Export the volume again.", code="input.format")
    for order in "<>":
        version = struct.unpack(f"{order}i", head[:4])[0]
        if version in (348, 540):
            break
    else:
        raise InputError(f"{path} is not a NIfTI file.", "Export the volume again.", code="input.format")
    if version == 348:
        dim = struct.unpack(f"{order}8h", head[40:56])
        bits = struct.unpack(f"{order}h", head[72:74])[0]
        pixdim = struct.unpack(f"{order}8f", head[76:108])
        offset = struct.unpack(f"{order}f", head[108:112])[0]
        sform = struct.unpack(f"{order}h", head[254:256])[0]
        srow = np.array(struct.unpack(f"{order}12f", head[280:328])).reshape(3, 4)
    else:
        bits = struct.unpack(f"{order}h", head[14:16])[0]
        dim = struct.unpack(f"{order}8q", head[16:80])
        pixdim = struct.unpack(f"{order}8d", head[104:168])
        offset = struct.unpack(f"{order}q", head[168:176])[0]
        sform = struct.unpack(f"{order}i", head[348:352])[0]
        srow = np.array(struct.unpack(f"{order}12d", head[400:496])).reshape(3, 4)
    if not path.name.lower().endswith((".hdr", ".img")) and 1 <= dim[0] <= 7:
        voxels = int(np.prod([max(1, int(d)) for d in dim[1 : dim[0] + 1]]))
        if size < int(offset) + voxels * bits // 8:
            raise truncated(path)
    _check_spacing(path, pixdim[1:4])
    if sform > 0:
        _check_columns(path, srow[:, :3])


def _check_nrrd(path: Path) -> None:
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


def _check_meta(path: Path) -> None:
    fields = {}
    with path.open("rb") as file:
        for _ in range(200):
            line = file.readline(2**16).decode("latin-1").strip()
            name, equals, value = line.partition("=")
            if not equals:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                offset = file.tell()
                break
        else:
            return
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    _check_spacing(path, [float(s) for s in spacing.split()])
    data = fields.get("ElementDataFile")
    if data is None:
        raise truncated(path)
    if data != "LOCAL" and "%" not in data and data != "LIST":
        data_path = path.parent / data
        if not data_path.is_file():
            raise InputError(
                f"{path} refers to its data file {data}, which is not beside it.",
                "Copy both files together.",
                code="input.missing",
            )
    else:
        data_path = path
    if data in ("LOCAL", data_path.name):
        available = data_path.stat().st_size - (offset if data == "LOCAL" else 0)
        if available < _meta_bytes(fields):
            raise truncated(path)


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
