"""Downloads, and the private folder for them and for uploads."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import zipfile
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from DeepSegLogic.util.atomic_write import cannot_write
from DeepSegLogic.util.file_names import safe_name
from DeepSegLogic.util.staging import temporary_folder


class Transfers:
    """A private folder for uploads and downloads. It is removed at the end, or by the next server after a kill.

    Attributes:
        folder: its path.
    """

    def __init__(self):
        self._kept = contextlib.ExitStack()
        self.folder = self._kept.enter_context(temporary_folder())
        self._offered: Path | None = None
        self._key = ""

    def attach(self, app: web.Application) -> None:
        """Add the route of downloads to an application."""
        app.router.add_get("/download/{key}/{name}", self._download)

    def close(self) -> None:
        """Remove the folder."""
        self._kept.close()

    def empty(self, name: str) -> Path:
        """A new, empty sub-folder; one of the same name is removed first."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    async def offer(self, folder: Path, name: str) -> str:
        """Offer the files in a folder as one download, zipped if there are several; returns its address.

        Raises:
            OutputError: not enough disk space for the archive.
        """
        files = list(folder.iterdir())
        if len(files) == 1:
            offered = files[0]
        else:
            offered = self.empty("archive") / f"{safe_name(name)}.zip"
            await pack(folder, offered)
        self._offered, self._key = offered, secrets.token_urlsafe(16)
        return f"download/{self._key}/{quote(offered.name)}"

    async def _download(self, request: web.Request) -> web.StreamResponse:
        path = self._offered
        if path is None or request.match_info["key"] != self._key:
            raise web.HTTPNotFound
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}"}
        return web.FileResponse(path, headers=headers)


async def pack(folder: Path, target: Path) -> None:
    """Zip the files in a folder.

    Raises:
        OutputError: not enough disk space.
    """
    try:
        await asyncio.to_thread(_zip, folder, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
