"""The header of a NIfTI-1 file, or of Analyze's pair of files."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...data.volume_checks import not_finite
from ...util.errors import InputError
from ..files import beside, opened, truncated
from .fields import check_columns, check_spacing, damaged, rectangular

_SIZE, _SIZE_2 = 348, 540  # of the headers of NIfTI-1 and NIfTI-2
_BITS = {  # of a voxel, by the code of its type
    1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64,
    1536: 128, 1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}  # that NumPy has, by code
_MOST_EXTENSIONS = 2**26  # bytes between header and voxels
_MOST_SPARE = 2**20  # bytes after the voxels of a compressed file


class _Header(NamedTuple):
    """Where the voxels are, and how to read them.

    Attributes:
        voxels: their file.
        start: their offset there.
        announced: their bytes.
        kind: their dtype; that of bytes if NumPy has none.
        shape: of the image (K, J, I); None if it is not what the bytes are, in this computer's order.
    """

    voxels: Path
    start: int
    announced: int
    kind: np.dtype[Any]
    shape: tuple[int, int, int] | None


def check(path: Path) -> tuple[int, list[str]]:
    """``announced`` and ``doubts`` of :class:`~DeepSegLogic.io.headers.Checked`; the doubts come from ITK later."""
    return _header(path).announced, []


def check_voxels(path: Path) -> None:
    """See :func:`DeepSegLogic.io.headers.check_voxels`."""
    _read_through(path, _header(path), None)


def voxels(path: Path) -> npt.NDArray[Any] | None:
    """See :func:`DeepSegLogic.io.headers.voxels`."""
    header = _header(path)
    array = None if header.shape is None else np.empty(header.shape, header.kind)
    _read_through(path, header, array)
    return array


def _read_through(path: Path, header: _Header, array: npt.NDArray[Any] | None) -> None:
    """Check all voxels, and fill an array with them."""
    size = bad = 0
    filled = np.empty(0, np.uint8) if array is None else array.reshape(-1).view(np.uint8)
    with _unpacked(header.voxels) as file:
        most = header.announced + _MOST_SPARE if isinstance(file, gzip.GzipFile) else math.inf
        file.read(header.start)
        while block := file.read(2**22):  # to the end, where gzip has its checksum
            if header.kind.kind == "f":
                numbers = np.frombuffer(block, header.kind, len(block) // header.kind.itemsize)
                bad += int(np.count_nonzero(~np.isfinite(numbers)))
            kept = filled[size : size + len(block)]
            kept[:] = np.frombuffer(block, np.uint8, len(kept))
            size += len(block)
            if size > most:
                raise damaged(path, "more voxels are in the file than it announces")
    if size < header.announced:
        raise truncated(path)
    if bad:
        raise not_finite(path, bad)


def corrected(path: Path, folder: Callable[[], Path]) -> tuple[Path, list[str]] | None:
    """A copy of a file whose header ITK reads as NIfTI means it, and what was doubtful; None if none is needed.

    ITK refuses a sform that is not rectangular to rounding, takes voxel sizes from ``pixdim`` where the sform states
    others, and adds an intercept where the slope says that there is no scaling.

    Args:
        folder: makes one for the copy.
    """
    header = _header(path)
    if header.voxels != path:  # a pair of files, of which programs no longer write a sform
        return None
    with _unpacked(path) as file:
        head = bytearray(file.read(_SIZE))
    order = "<" if head[:4] == struct.pack("<i", _SIZE) else ">"
    qform, sform = struct.unpack_from(f"{order}2h", head, 252)
    slope, intercept = struct.unpack_from(f"{order}2f", head, 112)
    pixdim = np.array(struct.unpack_from(f"{order}8f", head, 76))
    srow = np.array(struct.unpack_from(f"{order}12f", head, 280)).reshape(3, 4)
    doubts: list[str] = []
    unscaled = (slope == 0 or not np.isfinite(slope)) and intercept != 0
    if unscaled:
        struct.pack_into(f"{order}2f", head, 112, 0.0, 0.0)
        doubts.append("The header states an intercept but no slope: as the NIfTI standard says, neither is used.")
    moved = False
    if sform > 0 and qform <= 0:
        matrix, off = rectangular(path, srow[:, :3])
        sizes = np.linalg.norm(matrix, axis=0)
        contradicts = bool((np.abs(sizes - pixdim[1:4]) > 1e-3 * sizes).any())
        moved = bool(off) or contradicts
        doubts += off
        if contradicts:
            doubts.append("The header states two voxel sizes (pixdim and sform). That of the sform is used.")
    if moved:
        struct.pack_into(f"{order}12f", head, 280, *np.column_stack([matrix, srow[:, 3]]).ravel())
        struct.pack_into(f"{order}3f", head, 80, *sizes)
    if not unscaled and not moved:
        return None
    copy = folder() / "corrected.nii"
    with _unpacked(path) as source, copy.open("wb") as target:
        source.seek(_SIZE)
        target.write(head)
        left = header.start - _SIZE + header.announced
        while left > 0 and (block := source.read(min(left, 2**22))):
            target.write(block)
            left -= len(block)
    return copy, doubts


def _header(path: Path) -> _Header:
    """Raises :class:`InputError` for what ITK would crash at, or read wrongly."""
    pair = path.name.lower().endswith((".hdr", ".img"))
    header, voxels = (path.with_suffix(".hdr"), path.with_suffix(".img")) if pair else (path, path)
    with _unpacked(header) as file:
        head = file.read(_SIZE)
    if head[:4] in (struct.pack(f"{o}i", _SIZE_2) for o in "<>"):
        raise InputError(
            f"{path} is NIfTI-2, which cannot be read.",
            "Save it as NIfTI-1, for example with the program nib-convert of nibabel, image type Nifti1Image.",
            code="input.format",
        )
    order = next((o for o in "<>" if head[:4] == struct.pack(f"{o}i", _SIZE)), None)
    single = head[344:348] == b"n+1\0"  # Analyze, always in two files, has a number there
    if order is None or len(head) < _SIZE or single == pair:
        raise InputError(f"{path} is not a NIfTI file.", "Export the volume again.", code="input.format")
    if pair:
        beside(header, voxels.name)
    dim = struct.unpack(f"{order}8h", head[40:56])
    kind = struct.unpack(f"{order}h", head[70:72])[0]
    pixdim = struct.unpack(f"{order}8f", head[76:108])
    offset, *scale = struct.unpack(f"{order}3f", head[108:120])
    qform, sform = struct.unpack(f"{order}2h", head[252:256])
    srow = np.array(struct.unpack(f"{order}12f", head[280:328])).reshape(3, 4)
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 0 or kind not in _BITS:
        raise damaged(path, "its size or its voxel type is not valid")
    if not 0 <= offset <= _MOST_EXTENSIONS:  # false for NaN, too
        raise damaged(path, "it does not say where its voxels begin")
    if sform <= 0 or qform > 0:
        check_spacing(path, pixdim[1:4])
    if sform > 0:
        if not np.isfinite(srow).all():
            raise damaged(path, "its position (sform) has values that are not numbers")
        check_columns(path, srow[:, :3])
    sizes = [max(1, size) for size in dim[1 : dim[0] + 1]]
    start = int(offset) if pair else max(int(offset), _SIZE)
    dtype = np.dtype(f"{order}{_TYPES.get(kind, 'u1')}")
    plain = kind in _TYPES and dtype.isnative and scale in ([0, 0], [1, 0]) and len(sizes) == 3
    shape = (sizes[2], sizes[1], sizes[0]) if plain else None
    return _Header(voxels, start, math.prod(sizes) * _BITS[kind] // 8, dtype, shape)


def _unpacked(path: Path) -> BufferedIOBase:
    """The content of a file, decompressed if it is compressed."""
    with opened(path) as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else opened(path)
