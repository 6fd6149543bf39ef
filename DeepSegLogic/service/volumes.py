"""Volumes and label maps that a user uploaded: raw voxels in files that are named after their content.

::

    <user>/volumes/<id>/header.json    a GridHeader; its time is that of the last use
    <user>/volumes/<id>/part           what came so far
    <user>/volumes/<id>/voxels         all of it, checked
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames

import numpy as np

from ..data.volume import Volume
from ..data.volume_checks import reject_unusable
from ..remote.protocol import GridHeader
from ..util.errors import DeepSegError, InputError
from ..util.staging import flush, move
from .files import private_folder, write_json
from .settings import ServiceError, Settings

_PIECE = 1 << 20
THE_VOLUME = "The volume"
"""What messages of the server call a volume: it never learns its name."""


class VolumeStore:
    """The volumes of one user.

    Args:
        folder: of this user.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = private_folder(folder / "volumes")
        self._settings = settings
        self._lock = threading.Lock()
        self._uploading: set[str] = set()

    def announce(self, header: GridHeader, in_use: Container[str]) -> int:
        """Prepare an upload; returns the bytes that are here already, which may be all.

        Args:
            in_use: ids of volumes that must stay. Of the others, the ones not used for longest make room.

        Raises:
            ServiceError: too large, or no room.
        """
        self.must_take(header.nbytes)
        with self._lock:
            place = self.folder / header.id
            if not place.is_dir():
                self._make_room(header.nbytes, in_use)
                place.mkdir(mode=0o700)
                write_json(place / "header.json", header.as_json())
            return self.received(header.id)

    def must_take(self, nbytes: int) -> None:
        """Raise :class:`ServiceError` for a volume that is too large."""
        if nbytes > self._settings.largest:
            raise ServiceError(
                413,
                "usage.too_large",
                f"The volume has {_mb(nbytes)}; this server takes at most {_mb(self._settings.largest)}.",
                "Crop it, or resample it to larger voxels.",
            )

    def received(self, volume: str) -> int:
        """Bytes of a volume that are here; all only once they were checked.

        Raises:
            ServiceError: it was not announced.
        """
        whole, part = self.header(volume).nbytes, self.folder / volume / "part"
        try:
            return min(part.stat().st_size, whole - 1)
        except FileNotFoundError:
            return whole if self.is_complete(volume) else 0

    def header(self, volume: str) -> GridHeader:
        """The header of a volume, which counts as used now.

        Raises:
            ServiceError: there is none.
        """
        path = self.folder / volume / "header.json"
        try:
            header = GridHeader.from_json(json.loads(path.read_text("utf-8")))
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError):
            raise unknown_volume() from None
        return header

    def is_complete(self, volume: str) -> bool:
        """Whether all of a volume is here."""
        return (self.folder / volume / "voxels").exists()

    @contextmanager
    def append(self, volume: str, offset: int, gzipped: bool) -> Iterator[Writer]:
        """Add bytes to a volume. After an error, what came before it stays.

        Args:
            offset: of the first byte; must be :meth:`received`.

        Raises:
            ServiceError: no such volume, another offset, or another client is sending it.
            InputError: the volume is complete but not what was announced, or no model can use it. It is deleted.
        """
        header = self.header(volume)
        place = self.folder / volume
        with self._lock:
            if volume in self._uploading:
                raise ServiceError(409, "usage.conflict", "Another client is sending this volume.", "Wait for it.")
            if offset != (here := self.received(volume)):
                raise ServiceError(409, "usage.conflict", f"{here} bytes are here, not {offset}.", "Continue there.")
            self._uploading.add(volume)
        try:
            if not self.is_complete(volume):
                with (place / "part").open("ab") as file:
                    file.truncate(offset)  # it was whole, and the server killed before the check
                    yield Writer(file.write, header.nbytes - offset, gzipped)
                if (place / "part").stat().st_size == header.nbytes:
                    self._complete(place, header)
            else:
                yield Writer(len, 0, gzipped)
        except OSError as error:
            raise disk_full() from error
        finally:
            with self._lock:
                self._uploading.discard(volume)

    def remove(self, volume: str, in_use: Container[str]) -> None:
        """Delete a volume.

        Raises:
            ServiceError: there is none, or a job needs it.
        """
        self.header(volume)
        if volume in in_use:
            raise ServiceError(409, "usage.conflict", "A job needs this volume.", "Cancel the job first.")
        shutil.rmtree(self.folder / volume, ignore_errors=True)

    def sweep(self, in_use: Container[str]) -> None:
        """Delete what nobody used for long."""
        with self._lock:
            for used, volume, _ in self._kept():
                if time.time() - used > self._settings.keep_s and volume not in in_use:
                    self._drop(volume)

    @property
    def size(self) -> int:
        """Bytes of all volumes, complete or announced."""
        return sum(size for _, _, size in self._kept())

    def _kept(self) -> list[tuple[float, str, int]]:
        """Last use, id and size of all volumes, the oldest first."""
        found = []
        for path in self.folder.iterdir():
            try:
                header = path / "header.json"
                size = GridHeader.from_json(json.loads(header.read_text("utf-8"))).nbytes
                found.append((header.stat().st_mtime, path.name, size))
            except (OSError, ValueError, KeyError, TypeError):  # the server was killed before it was written
                found.append((0.0, path.name, 0))
        return sorted(found)

    def _make_room(self, needed: int, in_use: Container[str]) -> None:
        kept = self._kept()
        total = sum(size for _, _, size in kept)
        for _, volume, size in kept:
            if total + needed <= self._settings.quota and self._fits(needed):
                return
            if volume not in in_use and volume not in self._uploading:
                self._drop(volume)
                total -= size
        if total + needed > self._settings.quota:
            raise ServiceError(
                507,
                "resource.disk",
                f"Your volumes would take more than the {_mb(self._settings.quota)} that each user has.",
                "Wait until your jobs have ended, or delete volumes.",
            )
        if not self._fits(needed):
            raise disk_full()

    def _fits(self, needed: int) -> bool:
        return shutil.disk_usage(self.folder).free >= needed + self._settings.reserve

    def _drop(self, volume: str) -> None:
        if volume not in self._uploading:
            shutil.rmtree(self.folder / volume, ignore_errors=True)

    def _complete(self, place: Path, header: GridHeader) -> None:
        """Check the voxels, and make them usable; deletes them otherwise."""
        try:
            digest = hashlib.sha256()
            with (place / "part").open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
            flush(place / "part")
            if digest.hexdigest() != header.sha256:
                raise InputError(
                    "The volume changed on its way: its digest is another one.", "Send it again.", code="input.digest"
                )
            if header.dtype in ("int16", "float32"):
                reject_unusable(Volume(read_voxels(place / "part", header), header.matrix, THE_VOLUME))
        except DeepSegError as error:
            clear_frames(error.__traceback__)  # they map the voxels, which Windows would not delete then
            shutil.rmtree(place, ignore_errors=True)
            raise
        move(place / "part", place / "voxels")


class Writer:
    """Takes the bytes of an upload, never more than announced, however small they were packed.

    Attributes:
        taken: bytes of voxels so far.
    """

    def __init__(self, write: Callable[[bytes], object], left: int, gzipped: bool) -> None:
        self._write, self._left, self.taken = write, left, 0
        self._unpack = zlib.decompressobj(wbits=31) if gzipped else None

    def write(self, data: bytes) -> None:
        """Add some bytes.

        Raises:
            ServiceError: more than announced, or not gzip although said so.
        """
        if self._unpack is None:
            self._put(data)
            return
        try:
            while data or self._unpack.unconsumed_tail:
                self._put(self._unpack.decompress(data, _PIECE))
                data = self._unpack.unconsumed_tail
                if self._unpack.eof and (data or self._unpack.unused_data):
                    raise zlib.error
        except zlib.error:
            raise ServiceError(422, "usage.gzip", "The body is not one gzip stream.", "Send it again.") from None

    def _put(self, data: bytes) -> None:
        if len(data) > self._left:
            raise ServiceError(413, "usage.too_large", "There are more voxels than were announced.", "Send it again.")
        self._left -= len(data)
        self.taken += len(data)
        self._write(data)


def read_voxels(path: Path, header: GridHeader) -> np.memmap[tuple[int, ...], np.dtype[np.int16 | np.float32]]:
    """The voxels of a file (K, J, I), mapped to memory."""
    return np.memmap(path, np.dtype(header.dtype).newbyteorder("<"), "r", shape=header.shape)


def unknown_volume() -> ServiceError:
    """The error for a volume that is not here, or no longer."""
    return ServiceError(404, "usage.unknown", "The server does not have this volume.", "Send it again.")


def disk_full() -> ServiceError:
    """The error for a disk without room: that of the server, which its code tells from one of the client."""
    return ServiceError(
        507, "resource.server_disk", "The server's disk is full.", "Tell whoever runs it, or try later."
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
