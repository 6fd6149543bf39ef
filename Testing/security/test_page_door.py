"""Who comes in to the page: not those who read command lines, other sites, nor those who only hold the line."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

pytest.importorskip("trame_slicer", reason="needs the extra `web`")

from .page_server import HOST, ROUTES, Page, awaited, start, stop

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="the browser is a shell script"),
]
SITES = [
    {"Origin": "http://example.org"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "ftp://127.0.0.1"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "script"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "iframe"},
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A server that opened a browser, the browser's command line, and the server's terminal."""
    folder = tmp_path_factory.mktemp("door")
    browser, argv, terminal = folder / "browser", folder / "argv", folder / "terminal"
    browser.write_text(f'#!/bin/sh\necho "$$ $@" > {argv}.new\nmv {argv}.new {argv}\nexec sleep 600\n', "utf-8")
    browser.chmod(0o755)
    with terminal.open("w") as stderr:
        server = start(None, folder, browser=browser, stderr=stderr)
    while not argv.exists():
        time.sleep(0.1)
    process, _, link = argv.read_text("utf-8").partition(" ")
    yield server, link, terminal
    stop(server)
    os.kill(int(process), signal.SIGTERM)


@pytest.fixture(scope="module")
def page(opened):
    return Page(opened[0])


def test_the_command_line_of_the_browser_holds_nothing_that_can_be_used_twice(opened, page):
    token = urlsplit(page.server.url).query.partition("=")[2]
    link = urlsplit(opened[1].strip())
    assert token not in opened[1]
    address = f"{link.path}?{link.query}"
    assert page.ask("HEAD", address, cookie="").status == 403, "a look at it does not use it up"
    first = page.ask("GET", address, cookie="")
    assert (first.status, first.headers["Location"]) == (303, "/index.html")
    cookie = first.headers["Set-Cookie"]
    value = cookie.partition("=")[2].partition(";")[0]
    assert value not in (token, link.query.partition("=")[2])
    for flag in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert flag in cookie
    again = page.ask("GET", address, cookie="")
    assert again.status == 403
    assert "Set-Cookie" not in again.headers
    assert page.ask("GET", "/index.html", cookie=cookie.partition(";")[0]).status == 200
    assert page.ask("GET", f"/index.html?token={value}", cookie="").status == 403, "the cookie is no token"


def test_the_printed_link_works_again_and_does_not_stay_in_the_address_bar(page):
    for _ in range(2):
        answer = page.ask("GET", page.server.url.partition(str(page.port))[2], cookie="")
        assert (answer.status, answer.headers["Location"]) == (303, "/index.html")
    wrong = page.ask("GET", "//example.org/?token=wrong")
    assert wrong.headers.get("Location") in (None, "/index.html"), "it leads nowhere else"


@pytest.mark.parametrize("method, path", ROUTES)
@pytest.mark.parametrize("cookie", ["", "deepseg-{port}=wrong", "deepseg-{port}=", "deepseg-{port}=\xff", "x"])
def test_without_the_cookie_nothing_is_served(page, method, path, cookie):
    answer = page.ask(method, path, cookie=cookie.format(port=page.port))
    assert answer.status == 403


@pytest.mark.parametrize("method, path", ROUTES)
@pytest.mark.parametrize(
    "host",
    ["example.org", "127.0.0.1.example.org", "localhost.example.org:80", "10.1.2.3", "0.0.0.0", "[::2]", "", "a b"],
)
def test_names_of_other_machines_are_refused(page, method, path, host):
    """A site may let its own name lead here, and would be of the same origin then."""
    port = host.rpartition(":")[2] if ":" in host else "80"
    cookie = page.cookie.replace(str(page.port), port, 1)
    answer = page.ask(method, path, Host=host, Origin=f"http://{host}", cookie=cookie)
    assert answer.status in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:4711", "localhost:4711", "LOCALHOST:4711", "[::1]:4711", "127.0.0.2:4711"])
def test_a_tunnel_may_have_another_port(page, host):
    cookie = page.cookie.replace(str(page.port), "4711", 1)
    assert page.ask("GET", "/index.html", Host=host, cookie=cookie).status == 200


@pytest.mark.parametrize("method, path", ROUTES)
@pytest.mark.parametrize("site", SITES, ids=str)
def test_other_sites_can_use_nothing(page, method, path, site):
    assert page.ask(method, path, **site).status == 403


def test_other_sites_may_hold_the_link(page):
    follows = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document", "Sec_Fetch_Mode": "navigate"}
    assert page.ask("GET", page.server.url.partition(str(page.port))[2], cookie="", **follows).status == 303
    answer = page.ask("GET", "/index.html", cookie="", **follows)
    assert answer.status == 403
    assert b'http-equiv="refresh"' in answer.read(), "the browser left the cookie out; it sends it from here"
    assert b"http-equiv" not in page.ask("GET", "/index.html", cookie="", Sec_Fetch_Site="same-origin").read()


@pytest.mark.parametrize("method, path", [*ROUTES, ("GET", "/index.html?token=wrong")])
@pytest.mark.parametrize("cookie", [None, ""])
def test_nothing_is_kept_or_shown_elsewhere(page, method, path, cookie):
    headers = page.ask(method, path, cookie=cookie).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/<script>alert(1)</script>", "/download/<b>/x", "/?token=<script>alert", "/%0d%0aX:1"]
)
@pytest.mark.parametrize("cookie", [None, ""])
def test_errors_do_not_repeat_what_was_asked(page, path, cookie):
    answer = page.ask("GET", path, cookie=cookie)
    assert b"<script>alert" not in answer.read()
    assert "X" not in answer.headers


def test_calls_that_fail_tell_no_paths(page):
    for call in (("trame.trigger", "browse", [1, 2, 3], {}), ("trame.state.update", [{}]), ("trame.trigger", "x")):
        answer = page.call(*call)
        assert "Traceback" not in str(answer)
        assert ".py" not in str(answer)
    assert "error" in page.call("trame.state.update", [{}])


def test_half_open_requests_are_closed_and_keep_nobody_out(page):
    beginnings = [
        b"",
        b"GET /index.html HT",
        f"GET /index.html HTTP/1.1\r\nHost: {HOST}\r\nX-Long: ".encode(),
        f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n".encode(),
        f"GET /no HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET ".encode(),
    ]
    held = []
    for number in range(400):
        held.append(page.connect())
        held[-1].sendall(beginnings[number % len(beginnings)])
    assert page.ask("GET", "/index.html").status == 200
    begun = time.monotonic()
    while held and time.monotonic() < begun + 120:
        held = [connection for connection in held if not _is_closed(connection)]  # which drips a byte
        time.sleep(0.5)
    assert not held
    assert page.ask("GET", "/index.html").status == 200


def test_nonsense_leaves_nothing_in_the_terminal(opened, page):
    before = opened[2].stat().st_size
    for nonsense in (b"\0\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 20_000, b"GET / HTTP/1.1\r\nHost\r\n\r\n"):
        with page.connect() as connection:
            connection.sendall(nonsense)
            while connection.recv(4096):
                pass
    assert page.ask("GET", "/index.html").status == 200
    assert opened[2].stat().st_size == before


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can be another user for a moment")
def test_another_user_cannot_be_faster_than_the_browser():
    aiohttp_web = pytest.importorskip("aiohttp.web")
    gate = pytest.importorskip("DeepSegWeb.gate")
    script = (
        "import os, socket, sys\n"
        "os.setuid(int(sys.argv[1]))\n"
        "line = socket.socket()\n"
        "line.connect((sys.argv[2], int(sys.argv[3])))\n"
        "line.sendall(f'GET {sys.argv[4]} HTTP/1.1\\r\\nHost: {sys.argv[2]}\\r\\n\\r\\n'.encode())\n"
        "print(line.recv(100).split()[1].decode())\n"
    )

    async def tries() -> list[str]:
        app, door = aiohttp_web.Application(), gate.Gate(HOST)
        door.attach(app)
        runner = aiohttp_web.AppRunner(app)
        await runner.setup()
        await aiohttp_web.TCPSite(runner, HOST, 0).start()
        port, codes = runner.addresses[0][1], []
        address = door.one_time_link(port).partition(str(port))[2]
        for user in (65534, os.getuid()):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, str(user), HOST, str(port), address, stdout=subprocess.PIPE
            )
            codes.append((await process.communicate())[0].decode().strip())
        await runner.cleanup()
        return codes

    assert awaited(tries()) == ["403", "303"]


def test_the_one_time_link_is_worthless_after_a_minute(monkeypatch):
    gate = pytest.importorskip("DeepSegWeb.gate")
    door = gate.Gate(HOST)
    now = time.monotonic()
    code = door.one_time_link(1).partition("once=")[2]
    request = SimpleNamespace(method="GET", transport=None)
    monkeypatch.setattr(gate.time, "monotonic", lambda: now + 61)
    assert not door._takes(code, request)
    monkeypatch.setattr(gate.time, "monotonic", lambda: now + 30)
    assert door._takes(code, request)
    assert not door._takes(code, request)


def _is_closed(connection) -> bool:
    connection.settimeout(0)
    try:
        connection.sendall(b"a")
        return not connection.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True
