"""What comes in to the page, and how much of it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("trame_slicer", reason="needs the extra `web`")

import aiohttp
from aiohttp import test_utils, web
from DeepSegWeb import uploads

from DeepSegLogic.util import file_names

from .page_server import Page, awaited, form, start, stop

pytestmark = pytest.mark.timeout(300)
NAMES = [
    "\x00\x01\x1b[31mred.nrrd",
    "a" * 300 + ".nrrd",
    "\U0001f480" * 300 + ".nrrd",
    "folder/" + "\u00e9" * 300 + "/ct.nrrd",
    "d" * 300 + "/" + "s" * 300,
    "../../../../etc/passwd.nrrd",
    "..\\..\\windows.nrrd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "~/x.nrrd",
    "<img src=x onerror=alert(1)>.nrrd",
    "{{constructor.constructor('alert(1)')()}}.nrrd",
    "NUL",
    "con.nrrd",
    "C:\\x.nrrd:stream",
    "\u202egnp.nrrd",
    "\udcff\udcfe.nrrd",
    "-rf.nrrd",
    ".lock",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    with (folder / "terminal").open("w") as stderr:
        server = start(None, folder, stderr=stderr)
    yield Page(server)
    stop(server)


@pytest.fixture
def terminal(page):
    """What the server says in its terminal during the test."""
    with Path(page.server.temporary, "terminal").open() as file:
        file.seek(0, 2)
        yield file.read


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_name_leads_out_or_breaks_anything(page, name):
    body, headers = form((name, b"this is no volume"))
    assert page.ask("POST", "/upload", body, **headers).status == 200
    alert = page.alert()
    assert alert, "the page says what was wrong"
    assert "Unexpected error" not in alert
    assert alert.isprintable()
    assert str(page.server.temporary) not in alert
    assert page.left() == []


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_names_everywhere(name, tmp_path):
    for make in (file_names.safe_name, file_names.kept_name):
        made = make(name)
        assert made.encode()
        assert len(made.encode()) < 200
        assert not set(made) & set('/\\:<>"|?*\x00\x1b')
        assert made.partition(".")[0].lower() not in ("con", "nul", "")
        (tmp_path / made).write_text("", "utf-8")
        assert [path.name for path in tmp_path.iterdir()] == [made]
        (tmp_path / made).unlink()


@pytest.mark.parametrize(
    "body, kind",
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=" + "b" * 300),
        (b"hello", "text/plain"),
        (b"{}", ""),
        (b"--y\r\n\r\nhello\r\n--y--", "multipart/form-data; boundary=x"),
        (b"--x\r\nno header here\r\n\r\nhello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"A: b\r\n" * 2000 + b"\r\nhello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nA: " + b"b" * 100_000 + b"\r\n\r\nhello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\nhello', "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Type: multipart/mixed; boundary=y\r\nContent-Disposition: form-data; filename="a"\r\n\r\n'
            b"--y\r\n\r\nhello\r\n--y--\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--x--\r\n', "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
def test_broken_uploads_give_a_sentence(page, terminal, body, kind):
    assert page.ask("POST", "/upload", body, Content_Type=kind).status in (200, 400)
    alert = page.alert()
    assert "upload" in alert
    assert "Unexpected error" not in alert
    assert "Traceback" not in terminal()
    assert page.left() == []


def test_thousands_of_tiny_uploads_do_not_stop_the_page(page):
    body, headers = form(("ct.nrrd", b"NRRD0004\nno"))
    over, looked = threading.Event(), []

    def looks():
        while not over.is_set():
            looked.append(page.ask("GET", "/index.html").status)

    with ThreadPoolExecutor(17) as pool:
        looking = pool.submit(looks)
        codes = list(pool.map(lambda _: page.ask("POST", "/upload", body, **headers).status, range(2000)))
        over.set()
        looking.result()
    assert set(codes) == {200, 429}
    assert codes.count(429) > 1000
    assert set(looked) == {200}
    assert page.left() == []


def test_thousands_of_files_are_one_upload(page):
    body, headers = form(*((f"series/slice{i}.dcm", b"no slice") for i in range(3000)))
    _until_calm(page)
    assert page.ask("POST", "/upload", body, **headers).status == 200
    assert "series" in page.alert()
    assert page.left() == []


def run_uploads(tmp_path, act, **limits):
    """Let something use an address for uploads; returns what it returns, and what was told and received."""
    told, received = [], []

    async def receive(path):
        received.append((path.name, path.is_file() and path.read_bytes()))
        await asyncio.sleep(0)

    async def run():
        app = web.Application()
        uploads.Uploads(tmp_path, told.append).attach(app, {"upload": receive})
        async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
            return await act(session, str(server.make_url("/upload")))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(uploads, name, value)
        result = awaited(run())
    assert list(tmp_path.iterdir()) == []
    return result, [str(error) for error in told], received


def _send(body):
    async def act(session, url):
        async with session.post(url, data=body, headers={"Content-Type": "multipart/form-data; boundary=x"}) as answer:
            return answer.status

    return act


@pytest.mark.parametrize("part", [b'; filename="f"', b""], ids=["files", "fields"])
def test_parts_and_bytes_are_counted_whatever_they_are(tmp_path, part):
    one = b'--x\r\nContent-Disposition: form-data; name="n"' + part + b"\r\n\r\n" + b"0" * 100 + b"\r\n"
    for limits in ({"LIMIT_FILES": 10}, {"LIMIT_BYTES": 1000}):
        _, told, received = run_uploads(tmp_path, _send(one * 11 + b"--x--\r\n"), **limits)
        assert "larger than" in told[0]
        assert received == []


@pytest.mark.parametrize("drip", [b"", b"0"], ids=["silent", "dripping"])
def test_an_upload_that_comes_to_a_halt_is_given_up(tmp_path, drip):
    async def slowly():
        yield form(("ct.nrrd", b"0"))[0][:-20]
        while True:
            await asyncio.sleep(0.05)
            yield drip

    _, told, received = run_uploads(tmp_path, _send(slowly()), STALL_S=0.3)
    assert "upload stopped" in told[0]
    assert received == []


def test_one_upload_at_a_time(tmp_path):
    async def act(session, url):
        refused = asyncio.Event()

        async def slowly():
            body = form(("a.nrrd", b"first"))[0]
            yield body[:-10]
            await refused.wait()
            yield body[-10:]

        first = asyncio.ensure_future(_send(slowly())(session, url))
        while not list(tmp_path.iterdir()):  # its folder
            await asyncio.sleep(0.01)
        others = [await _send(form(("b.nrrd", b"other"))[0])(session, url) for _ in range(5)]
        refused.set()
        return [await first, *others, await _send(form(("c.nrrd", b"next"))[0])(session, url)]

    codes, told, received = run_uploads(tmp_path, act)
    assert codes == [200, 429, 429, 429, 429, 429, 200]
    assert received == [("a.nrrd", b"first"), ("c.nrrd", b"next")]
    assert told == []


def test_files_named_alike_are_kept_apart(tmp_path):
    body = form(("s/2_a", b"1"), ("s/a", b"2"), ("t/../s/a", b"3"), ("s/a", b"4"))[0]
    kept = []

    async def receive(path):
        kept.extend(sorted(file.read_bytes() for file in path.parent.rglob("*") if file.is_file()))

    async def run():
        app = web.Application()
        uploads.Uploads(tmp_path, pytest.fail).attach(app, {"upload": receive})
        async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
            await _send(body)(session, str(server.make_url("/upload")))

    awaited(run())
    assert kept == [b"1", b"2", b"3", b"4"]


def _until_calm(page) -> None:
    """Until the page takes uploads again."""
    body, headers = form(("ct.nrrd", b"NRRD0004\nno"))
    while page.ask("POST", "/upload", body, **headers).status != 200:
        threading.Event().wait(0.5)
