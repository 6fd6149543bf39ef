"""The header of an NRRD, parsed strictly, so that Teem (in ITK) and pynrrd read only what was checked."""

from __future__ import annotations

import bz2
import gzip
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase, BufferedReader
from pathlib import Path

import numpy as np

from ..files import beside, opened, refers_elsewhere
from .fields import (
    LONGEST_AXIS,
    check_columns,
    check_length_units,
    check_spacing,
    damaged,
    left_open,
    number,
    reject_controls,
    whole,
)

_PATIENT_SPACES = ("ras", "las", "lps", "rast", "last", "lpst")
_MOST_AXES = 8
_LONGEST_FIELD = 512  # from 1000 on, Teem writes beyond a buffer when it quotes the line in an error
_LONGEST_PAIR = 2**20
_MOST_LINES = 20_000
_BYTES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t, char",
    2: "short, short int, signed short, signed short int, int16, int16_t, "
    "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, "
    "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_VOXEL_BYTES = {name: size for size, names in _BYTES.items() for name in names.split(", ")}
_PACKED: dict[str, Callable[[BufferedReader], BufferedIOBase]] = {
    **dict.fromkeys(("gzip", "gz"), gzip.open),
    **dict.fromkeys(("bzip2", "bz2"), bz2.open),
}
_ENCODINGS = {"raw", "txt", "text", "ascii", "hex", *_PACKED}
_NUMBERS = ("spacings", "thicknesses", "axismins", "axismaxs")  # one for each axis
_FIELDS = {  # without blanks: most may be written with or without them
    *_NUMBERS,
    *("content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "sizes", "spacedirections"),
    *("centers", "centerings", "kinds", "labels", "units", "min", "max", "oldmin", "oldmax", "endian", "encoding"),
    *("lineskip", "byteskip", "sampleunits", "spaceunits", "spaceorigin", "measurementframe", "datafile"),
}
_NOT_PAIRS = {"datafile", "lineskip", "byteskip"}  # pynrrd takes such a pair for the field


@dataclass
class Header:
    """A parsed header.

    Attributes:
        voxels: the file that holds the voxels.
        fields: those of the format, by name in lower case and without blanks.
        pairs: all other keys and values.
        end: offset of the voxels in bytes, unless they are in another file.
        announced: bytes of voxels.
    """

    voxels: Path
    fields: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    end: int = 0
    announced: int = 0


def read_header(path: Path) -> Header:
    """Parse a header and check all that could crash or mislead a library.

    Raises:
        InputError: the header is damaged, or the voxels are neither in the file nor beside it.
    """
    found = Header(path)
    with opened(path) as file:
        if not re.fullmatch(rb"NRRD000[1-6]\s*", file.readline(16)):
            raise damaged(path)
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_PAIR)
            if not line.endswith(b"\n") and len(line) == _LONGEST_PAIR:
                raise damaged(path, "a line is too long")
            if line in (b"", b"\n", b"\r\n"):
                break
            reject_controls(path, line)
            if not line.startswith(b"#"):
                _take(found, line, path)
        else:
            raise damaged(path, "it has too many lines")
        found.end = file.tell()
    _check_values(found, path)
    return found


def check(path: Path) -> tuple[int, list[str]]:
    """``announced`` and ``doubts`` of :class:`~DeepSegLogic.io.headers.Checked`.

    ITK itself finds missing data, but not zero or skew directions.
    """
    header = read_header(path)
    fields = header.fields
    directions = fields.get("spacedirections")
    if directions is not None:
        vectors = [v for v in directions.replace("none", "").split(")") if "(" in v]
        matrix = [[float(x) for x in v.split("(")[1].split(",")] for v in vectors]
        if len(matrix) == 3 and all(len(vector) == 3 for vector in matrix):
            check_columns(path, np.array(matrix).T)
        elif len(matrix) < 3 <= int(fields["dimension"]):
            raise damaged(path, "it does not state a direction for each axis in space")
    elif "spacings" in fields:
        sizes = [float(s) for s in fields["spacings"].split()]
        stated = [s for s in sizes if not math.isnan(s)]  # an axis of segments or frames has none
        check_spacing(path, stated if len(stated) >= 3 else sizes)
    check_length_units(path, re.findall(r'"(.*?)"', fields.get("spaceunits", "")))
    if directions is None:
        check_length_units(path, re.findall(r'"(.*?)"', fields.get("units", ""))[-3:])  # of each axis
    space = fields.get("space", "").lower()  # others, such as scanner-xyz, do not state the orientation
    patient = space in _PATIENT_SPACES or space.split("-")[0] in ("left", "right")
    return header.announced, left_open(directions or fields.get("spacings"), patient)


def check_unpacked(path: Path) -> None:
    """Raise :class:`InputError` if the voxels unpack to more than is announced: pynrrd has no limit."""
    header = read_header(path)
    unpack = _PACKED.get(header.fields["encoding"].lower())
    if any(header.fields.get(skip, "0") != "0" for skip in ("lineskip", "byteskip")):
        raise damaged(path, "its voxels do not follow the header")
    if unpack is None:
        return
    with opened(header.voxels) as file:
        file.seek(header.end if header.voxels == path else 0)
        size = 0
        with unpack(file) as packed:
            while block := packed.read(2**22):
                size += len(block)
                if size > header.announced:
                    raise damaged(path, "more voxels are in the file than it announces")


def _take(found: Header, line: bytes, path: Path) -> None:
    """Take a line as Teem does: a field of the format first, else a pair."""
    try:
        text = line.decode("utf-8").rstrip()
    except UnicodeDecodeError:  # as old programs wrote it on Windows
        text = line.decode("cp1252", "replace").rstrip()
    name, colon, value = text.partition(": ")
    known = name.lower().replace(" ", "")
    if colon and known in _FIELDS and re.fullmatch(r"[A-Za-z]+( [A-Za-z]+)?", name):
        if len(line) > _LONGEST_FIELD:
            raise damaged(path, f"{name} is too long")
        target, name, value = found.fields, known, value.strip()
    else:
        name, equals, value = text.partition(":=")
        if not equals or ":" in name or re.sub(r"[^a-z]", "", name.lower()) in _NOT_PAIRS:
            raise damaged(path, f"it has a line that is no field ({text[:40]!r})")
        target = found.pairs
    if name in target:
        raise damaged(path, f"{name[:40]} occurs twice")
    target[name] = value


def _check_values(found: Header, path: Path) -> None:
    fields = found.fields
    axes = whole(fields, "dimension", 1, _MOST_AXES, path)
    sizes = [number(size, 1, LONGEST_AXIS, path, "sizes") for size in fields.get("sizes", "").split()]
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if len(sizes) != axes or kind not in _VOXEL_BYTES or encoding not in _ENCODINGS:
        raise damaged(path, "its size, its voxel type or its encoding is not valid")
    for name in _NUMBERS:
        if name in fields and len([float(number) for number in fields[name].split()]) != axes:
            raise damaged(path, f"{name} does not have {axes} numbers")
    found.announced = math.prod(sizes) * _VOXEL_BYTES[kind]
    data = fields.get("datafile")
    if data is not None:
        if "%" in data or data.upper().startswith("LIST"):
            raise refers_elsewhere(path)
        found.voxels = beside(path, data)
    length = found.voxels.stat().st_size
    whole(fields, "lineskip", 0, min(length, 1000), path, 0)
    whole(fields, "byteskip", -1, length, path, 0)
