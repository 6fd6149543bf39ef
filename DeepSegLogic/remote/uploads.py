"""A volume's way to the server: once, in pieces, and on from where it broke off."""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy.typing as npt

from ..data.types import Affine
from ..util.errors import DeepSegError
from ..util.progress import Cancel, Progress, check
from .connection import Connection
from .protocol import GridHeader, as_bytes, not_understood

PIECE = 4 << 20
_SLOW = 25e6  # bytes per second; below, packing is faster than sending
_BUSY_S = 600.0  # how long another client may take to send the same volume


def upload(
    connection: Connection, array: npt.NDArray[Any], ijk_to_ras: Affine, progress: Progress, cancel: Cancel
) -> str:
    """Send voxels (K, J, I) and their matrix unless the server has them; returns their id.

    Raises:
        DeepSegError: the server refuses them or cannot be reached.
        Cancelled: what was sent stays there for the next time.
    """
    header = GridHeader.of(array, ijk_to_ras)
    voxels = as_bytes(array)
    told = connection.ask("POST", "/volumes", json=header.as_json(), cancel=cancel)
    here, packed, end = _received(told), array.dtype.kind == "u", time.monotonic() + _BUSY_S
    while here < header.nbytes:
        progress("upload", here / header.nbytes, f"{here / 1e6:.0f} of {header.nbytes / 1e6:.0f} MB")
        check(cancel)
        piece, began = bytes(voxels[here : here + PIECE]), time.monotonic()
        try:
            told = connection.ask(
                "PATCH", f"/volumes/{header.id}", params={"offset": here}, cancel=cancel,
                data=_pack(piece) if packed else piece, headers={"Content-Encoding": "gzip"} if packed else {},
            )  # fmt: skip
            packed = array.dtype.kind == "u" or len(piece) < _SLOW * (time.monotonic() - began)
        except DeepSegError as error:
            if error.code != "usage.conflict" or time.monotonic() > end:
                raise
            time.sleep(0.2)  # another client sends it, or our last piece arrived although its answer did not
            told = connection.ask("GET", f"/volumes/{header.id}", cancel=cancel)
        here = _received(told)
    progress("upload", 1.0, "")
    return header.id


def _received(told: object) -> int:
    received = told.get("received") if isinstance(told, dict) else None
    if not isinstance(received, int) or received < 0:
        raise not_understood()
    return received


def _pack(piece: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(piece) + packer.flush()
