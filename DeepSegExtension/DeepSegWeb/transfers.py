"""Files from the browser and to it. No name that the browser gives is used as a path."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import zipfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path, PurePosixPath

from aiohttp import web

from DeepSegLogic.errors import InputError, ResourceError
from DeepSegLogic.io.atomic import cannot_write
from DeepSegLogic.io.header import is_slice

from .private import PrivateFolder
from .shelf import SUFFIXES

LIMIT_BYTES = 4 * 2**30
LIMIT_FILES = 20_000


class Transfers:
    """A private folder for uploads and downloads, removed at the end.

    Args:
        failed: is called with what went wrong with an upload.

    Attributes:
        folder: that one.
    """

    def __init__(self, failed: Callable[[Exception], None]):
        self._private = PrivateFolder()
        self.folder = self._private.path
        self._failed = failed
        self._offered: Path | None = None

    def attach(self, app: web.Application, receivers: dict[str, Callable[[Path], Awaitable[None]]]) -> None:
        """Take uploads and give downloads at this application.

        Args:
            receivers: by address, what is called with an upload, a file or a folder; it is deleted afterwards.
        """
        for address, received in receivers.items():
            app.router.add_post(f"/{address}", partial(self._upload, received))
        app.router.add_get("/download/{name}", self._download)

    def close(self) -> None:
        """Remove everything."""
        self._private.remove()

    def empty(self, name: str) -> Path:
        """An empty folder; what the one of this name held is gone."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    async def offer(self, folder: Path, name: str) -> str:
        """Make a folder's files ready for download, zipped if they are several; returns the address.

        Raises:
            OutputError: there is no room for the archive.
        """
        files = list(folder.iterdir())
        if len(files) == 1:
            offered = files[0]
        else:
            offered = self.empty("archive") / f"{safe_name(name)}.zip"
            await pack(folder, offered)
        self._offered = offered
        return f"download/{offered.name}"

    async def _download(self, request: web.Request) -> web.StreamResponse:
        path = self._offered
        if path is None or path.name != request.match_info["name"]:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Disposition": f'attachment; filename="{path.name}"'})

    async def _upload(self, received: Callable[[Path], Awaitable[None]], request: web.Request) -> web.Response:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            try:
                await received(await _receive(request, Path(folder)))
            except ConnectionError:  # the tab has gone, or somebody pressed Cancel
                pass
            except OSError as error:
                self._failed(cannot_write(Path("upload"), error))
            except Exception as error:
                self._failed(error)
        return web.Response()


def safe_name(name: str) -> str:
    """The last part of a path, with letters, digits, points, dashes and underscores only."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return re.sub(r"[^\w.\-]+", "_", last).strip("._")[:100] or "file"


def _kept_name(name: str) -> str:
    """The last part of a path as it is, for headers that name the file of their voxels; without what is no name."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return re.sub(r"""[\x00-\x1f\x7f<>:"|?*%]+""", "_", last).strip(". ")[-80:] or "file"


async def _receive(request: web.Request, folder: Path) -> Path:
    """Save the parts of a form; returns the file to read, or the folder.

    Raises:
        InputError, ResourceError: nothing, or too much.
    """
    free = shutil.disk_usage(folder).free
    written, files = 0, []
    async for part in await request.multipart():
        if not part.filename:
            continue
        given = PurePosixPath(part.filename.replace("\\", "/"))
        place = safe_name(given.parts[0]) if len(given.parts) > 1 else "Upload"
        target = folder / place / _kept_name(given.name)
        if target.exists():  # slices of several folders may be named alike
            target = target.with_name(f"{len(files)}_{target.name}")
        target.parent.mkdir(exist_ok=True)
        files.append(target)
        with target.open("wb") as file:
            while block := await part.read_chunk(2**18):
                written += len(block)
                if written > LIMIT_BYTES or len(files) > LIMIT_FILES:
                    raise InputError(
                        f"The upload is larger than {LIMIT_BYTES / 2**30:.0f} GB or {LIMIT_FILES} files.",
                        "Choose one series, or start `deepseg web` with its folder.",
                        code="input.too_large",
                    )
                if written > free - 2**28:
                    raise ResourceError("There is no room for the upload.", "Free disk space.", code="resource.disk")
                file.write(block)
    if not files:
        raise InputError("There was no file in the upload.", "Choose a CT file or a DICOM folder.", code="input.empty")
    images = [f for f in files if f.name.lower().endswith(SUFFIXES)]
    if len(images) > 1 and not any(is_slice(f) for f in files if f not in images):
        raise InputError(
            f"{len(images)} volumes were chosen: {images[0].name}, {images[1].name}.",
            "Choose one at a time.",
            code="input.several",
        )
    return files[0] if len(files) == 1 else images[0] if images else files[0].parent


async def pack(folder: Path, target: Path) -> None:
    """Zip what a folder holds.

    Raises:
        OutputError: there is no room for the archive.
    """
    try:
        await asyncio.to_thread(_zip, folder, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
