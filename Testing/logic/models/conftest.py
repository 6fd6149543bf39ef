"""A release site on this machine, and stores of their own for the tests."""

import random
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from DeepSegLogic.models import download as download_module


class ReleaseSite:
    """Serves ``files`` (bytes by path); what goes wrong is set on the attributes.

    Attributes:
        failures: HTTP status codes for the first requests, one each.
        cut_after: bytes after which a transfer breaks off, one number for each of the first requests.
        etag: of all files; None sends none.
        ranges: whether ``Range`` is honoured.
        delay_s: between blocks of 4 kB.
        redirects: path to address.
        requests: (path, Range header) of each request.
    """

    def __init__(self, certificate: tuple[str, str] | None = None):
        self.files: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.cut_after: list[int] = []
        self.etag: str | None = '"one"'
        self.ranges = True
        self.delay_s = 0.0
        self.redirects: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                site.answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.address = f"{scheme}://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.rpartition("/")[2]
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if self.failures:
            return self._status(request, self.failures.pop(0))
        if path in self.redirects:
            return self._status(request, 302, Location=self.redirects[path])
        if path not in self.files:
            return self._status(request, 404)
        content = self.files[path]
        start = 0
        if wanted and self.ranges and request.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start > len(content) - 1 and start:
            return self._status(request, 416)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        stop = start + self.cut_after.pop(0) if self.cut_after else len(content)
        for at in range(start, min(stop, len(content)), 4096):
            request.wfile.write(content[at : min(at + 4096, stop)])
            time.sleep(self.delay_s)
        request.wfile.flush()
        if stop < len(content):
            request.close_connection = True
            request.connection.close()

    def _status(self, request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """No test sees or changes the user's models, proxies or certificates."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.01)
    return tmp_path / "store"


@pytest.fixture
def site():
    site = ReleaseSite()
    site.files["weights.zip"] = random.Random(0).randbytes(1_500_000)
    yield site
    site.close()


@pytest.fixture(scope="session")
def new_site():
    """The class, for tests that need another kind of site."""
    return ReleaseSite
