"""Uploads from the browser: one at a time, within limits, deleted as soon as they are read, unless moved elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from DeepSegLogic.io.files import is_slice
from DeepSegLogic.util.atomic_write import cannot_write
from DeepSegLogic.util.errors import InputError, ResourceError
from DeepSegLogic.util.file_names import kept_name, safe_name

from .shelf import SUFFIXES

LIMIT_BYTES = 4 * 2**30
LIMIT_FILES = 20_000
MOST, MOST_WITHIN_S = 100, 10.0
"""Uploads accepted within this many seconds."""
STALL_S = 30.0
"""How long an upload may send nothing."""
SLOWEST = 1024
"""Lowest mean speed of an upload after that time, in bytes per second; each file gets one second more."""
KEPT_FREE = 2**28
"""Disk space that uploads leave free, in bytes."""
_BROKEN = (ValueError, AssertionError, LookupError, aiohttp.ClientError, HttpProcessingError, web.RequestPayloadError)
T = TypeVar("T")


class Uploads:
    """Receives uploads.

    Args:
        folder: for the files while they are read.
        failed: called with the error of an upload.
    """

    def __init__(self, folder: Path, failed: Callable[[Exception], None]):
        self._folder, self._failed = folder, failed
        self._turn = asyncio.Lock()
        self._times: deque[float] = deque(maxlen=MOST)

    def attach(self, app: web.Application, receivers: dict[str, Callable[[Path], Awaitable[None]]]) -> None:
        """Add the routes of uploads to an application.

        Args:
            receivers: by address; called with the uploaded file or folder, which is deleted afterwards.
        """
        for address, received in receivers.items():
            app.router.add_post(f"/{address}", partial(self._upload, received))

    async def _upload(self, received: Callable[[Path], Awaitable[None]], request: web.Request) -> web.Response:
        now = time.monotonic()
        if self._turn.locked():
            return _refuse("Another upload is in progress.")
        if len(self._times) == MOST and now - self._times[0] < MOST_WITHIN_S:
            return _refuse("Too many uploads in the last seconds.")
        self._times.append(now)
        async with self._turn:
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                await received(await _receive(request, folder))
            except ConnectionError:  # the tab was closed, or the user pressed Cancel
                pass
            except OSError as error:
                self._failed(cannot_write(Path("upload"), error))
            except Exception as error:
                self._failed(error)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return web.Response()


def _refuse(why: str) -> web.Response:
    response = web.Response(status=429, text=why)
    response.force_close()
    return response


class _Allowance:
    """The limits of one upload: size, number of files, time.

    Args:
        folder: on the disk that the upload fills.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._bytes, self._parts, self._began = 0, 0, time.monotonic()

    async def wait(self, for_: Awaitable[T]) -> T:
        """Wait for more data.

        Raises:
            InputError: it comes too slowly, or not at all.
        """
        try:
            arrived = await asyncio.wait_for(for_, STALL_S)
            if time.monotonic() - self._began > STALL_S + self._bytes / SLOWEST + self._parts:
                raise asyncio.TimeoutError
        except asyncio.TimeoutError as error:
            raise InputError("The upload stopped.", "Try again.", code="input.upload") from error
        return arrived

    def take(self, size: int, parts: int = 0) -> None:
        """Count received data, in bytes and in parts.

        Raises:
            InputError, ResourceError: too much.
        """
        self._bytes, self._parts = self._bytes + size, self._parts + parts
        if self._bytes > LIMIT_BYTES or self._parts > LIMIT_FILES:
            raise InputError(
                f"The upload is larger than {LIMIT_BYTES / 2**30:.0f} GB or {LIMIT_FILES} files.",
                "Choose one series, or open it from a folder of the server.",
                code="input.too_large",
            )
        if shutil.disk_usage(self._folder).free < KEPT_FREE + size:
            raise ResourceError("The disk is too full for the upload.", "Free disk space.", code="resource.disk")


async def _receive(request: web.Request, folder: Path) -> Path:
    """Save the parts of a form; returns the file or folder to read.

    Raises:
        InputError, ResourceError: no file, too much, too slow, or no form.
    """
    allowance, files = _Allowance(folder), []
    try:
        form = await request.multipart()
        while (part := await allowance.wait(form.next())) is not None:
            if not isinstance(part, aiohttp.BodyPartReader):
                raise ValueError("a form in a form")
            allowance.take(0, parts=1)
            name = part.filename  # parsed again at each access
            target = _place(folder, name, len(files)) if name else None
            if target is not None:
                files.append(target)
            await _save(part, target, allowance)
    except _BROKEN as error:
        raise InputError("The upload is damaged.", "Try again.", code="input.upload") from error
    if not files:
        raise InputError("The upload contains no file.", "Choose a CT file or a DICOM folder.", code="input.empty")
    return await asyncio.to_thread(_choose, files)


async def _save(part: aiohttp.BodyPartReader, target: Path | None, allowance: _Allowance) -> None:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(target.open("wb")) if target is not None else None
        while block := await allowance.wait(part.read_chunk(2**18)):
            allowance.take(len(block))
            if file is not None:
                file.write(block)
    await asyncio.sleep(0)  # one network block may contain thousands of small parts; keep the page responsive


def _place(folder: Path, name: str, number: int) -> Path:
    given = PurePosixPath(name.replace("\\", "/"))
    place = folder / (safe_name(given.parts[0]) if len(given.parts) > 1 else "Upload")
    place.mkdir(exist_ok=True)
    target = place / kept_name(name)
    while target.exists():  # slices of several folders may have the same name
        target = target.with_name(f"{number}_{target.name}")
    return target


def _choose(files: list[Path]) -> Path:
    images = [f for f in files if f.name.lower().endswith(SUFFIXES)]
    if len(images) > 1 and not any(is_slice(f) for f in files if f not in images):
        raise InputError(
            f"{len(images)} volumes were chosen: {images[0].name}, {images[1].name}.",
            "Choose one at a time.",
            code="input.several",
        )
    return files[0] if len(files) == 1 else images[0] if images else files[0].parent
