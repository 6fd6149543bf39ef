"""What the page opens and gives away: pipes, sockets and devices are no files, and downloads are not for everybody."""

import importlib
import os
import socket
import subprocess
import sys
import tempfile
import webbrowser

import pytest

pytest.importorskip("aiohttp", reason="needs the extra `web`")

import aiohttp
from aiohttp import test_utils, web
from yarl import URL

from DeepSegLogic.util.errors import InputError

from .page_server import awaited

shelf = pytest.importorskip("DeepSegWeb.shelf", reason="needs the extra `web`")

pytestmark = [
    pytest.mark.timeout(60),  # who opens a pipe waits for ever
    pytest.mark.skipif(os.name == "nt", reason="Windows has none in folders"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.nrrd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.nrrd").symlink_to("pipe.nrrd")
    (tmp_path / "device.nrrd").symlink_to("/dev/zero")
    (tmp_path / os.fsdecode(b"\xff.nrrd")).write_text("", "utf-8")
    (tmp_path / "new\nline\x1b.nrrd").write_text("", "utf-8")
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.nrrd")
        yield tmp_path


def test_they_are_not_listed(folder):
    looked = shelf.Shelf(folder).look("")
    assert looked["files"] == ["new\nline\x1b.nrrd"]
    assert not looked["series"]
    "".join(looked["files"]).encode()


@pytest.mark.parametrize("name", ["pipe.nrrd", "pipe", "link.nrrd", "device.nrrd", "socket.nrrd"])
def test_they_are_not_opened(folder, name):
    with pytest.raises(InputError):
        shelf.Shelf(folder).find(name)


def test_nor_is_a_folder_with_one(folder):
    (folder / "series").mkdir()
    os.mkfifo(folder / "series" / "slice.dcm")
    with pytest.raises(InputError, match="pipes"):
        shelf.Shelf(folder).find("series")


def test_the_command_line_opens_none(folder):
    command = [sys.executable, "-c", "from DeepSegLogic.cli import run; run()", "web", "pipe.nrrd", "--no-browser"]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=50, check=False)
    assert ran.returncode == InputError.exit_code
    assert "neither a file nor a folder" in ran.stderr + ran.stdout


def test_downloads_are_found_by_who_was_told_and_are_never_shown(tmp_path, monkeypatch):
    transfers = pytest.importorskip("DeepSegWeb.transfers")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def run():
        app, given = web.Application(), transfers.Transfers()
        given.attach(app)
        folder = given.empty("export")
        (folder / 'l\u00e9ber "1".html').write_text("<script>", "utf-8")
        first, second = await given.offer(folder, "x"), await given.offer(folder, "x")
        async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
            for address in ("download/", "download/x/y", first):
                async with session.get(URL(f"{server.make_url('/')}{address}", encoded=True)) as answer:
                    assert answer.status == 404
            async with session.get(URL(f"{server.make_url('/')}{second}", encoded=True)) as answer:
                assert answer.status == 200
                shown = answer.headers["Content-Disposition"]
        given.close()
        return first, second, shown

    first, second, shown = awaited(run())
    assert first != second
    assert shown == "attachment; filename*=UTF-8''l%C3%A9ber%20%221%22.html"


@pytest.mark.parametrize("failure", [OSError("no display"), webbrowser.Error("no browser"), None])
def test_a_browser_that_cannot_be_opened_is_told(monkeypatch, capsys, failure):
    def fails(_link):
        if failure is not None:
            raise failure
        return False

    monkeypatch.setattr(webbrowser, "open", fails)
    importlib.import_module("DeepSegLogic.cli.web")._open_browser("http://127.0.0.1:1/?once=secret")
    said = capsys.readouterr().out
    assert "Open the link above" in said
    assert "secret" not in said
