"""One file from the web: resumed, retried, checked, cancellable.

Proxies and certificate authorities come from the environment, as everywhere with ``requests``
(``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from ..errors import Cancelled, DeepSegError, ModelError, OutputError, ResourceError
from ..progress import Cancel, Progress, ignore_progress, never_cancel
from .digests import file_digest

ATTEMPTS = 5
BACKOFF_S = 0.5  # before the second attempt; doubled each time
TIMEOUT_S = (10.0, 30.0)  # connect, and between two reads
_CHUNK = 1 << 18
_POLL_S = 0.2
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def download(
    url: str,
    target: Path,
    *,
    digest: str | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Path:
    """Fetch ``url`` to ``target``, going on from where an earlier call stopped.

    What has come so far stays beside the target as ``<name>.partial`` whatever stops the transfer, and is
    gone on with if the server still has the same file (``Range`` with ``If-Range``).

    Args:
        digest: ``"sha256:…"`` or ``"sha1:…"`` that the file must have.

    Raises:
        ModelError: the address is not https, the server refuses, or the file is not the expected one.
        ResourceError: the disk is too small.
        Cancelled: the user cancelled.
    """
    transfer = _Transfer(url, target, digest)
    # The network may hang for longer than the user wants to wait, so it is waited for in a thread.
    thread = threading.Thread(target=transfer.run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        progress("download", transfer.fraction, transfer.message)
        if cancel():
            transfer.stopped.set()
            thread.join(_POLL_S)
            raise Cancelled("The download was cancelled.", "What has come so far is kept for the next time.")
    if transfer.error is not None:
        raise transfer.error
    return target


def check_free_space(folder: Path, needed: int) -> None:
    """Raise :class:`ResourceError` unless ``needed`` bytes are free where ``folder`` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _disk_full(folder, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")


def _disk_full(folder: Path, detail: str) -> ResourceError:
    return ResourceError(
        f"The disk of {folder} is too full: {detail}.",
        "Free some space, or set DEEPSEG_MODELS to a folder on another disk. What has come so far is kept.",
        code="resource.disk",
    )


class _SecureOnly(HTTPAdapter):
    """Plain http is for this machine only; redirects pass through here too."""

    def send(self, request, *args, **kwargs):
        if urlsplit(request.url).hostname not in _LOOPBACK:
            raise ModelError(
                f"The address {request.url} is not encrypted, so the download was refused.",
                "Use an https address.",
                code="model.insecure",
            )
        return super().send(request, *args, **kwargs)


class _Retry(Exception):
    """This attempt failed in a way that may pass."""


_PASSING_ERRORS = (
    _Retry,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class _Transfer:
    """A download as its thread sees it; the other thread reads ``fraction``, ``message`` and ``error``."""

    def __init__(self, url: str, target: Path, digest: str | None):
        self.url, self.target, self.digest = url, target, digest
        self.partial = target.with_name(target.name + ".partial")
        self.origin = target.with_name(target.name + ".partial.json")  # which file the part is of
        self.fraction, self.message = 0.0, f"Connecting to {urlsplit(url).hostname}"
        self.error: Exception | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            self._run()
        except DeepSegError as error:
            self.error = error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.error = _disk_full(self.target.parent, "it filled up during the download")
            else:
                self.error = OutputError(
                    f"{error.filename or self.target} cannot be written: {error.strerror}.",
                    "Choose another folder with DEEPSEG_MODELS.",
                )
        except Exception as error:  # whatever it is, the caller's thread must learn of it
            self.error = error

    def _run(self) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            session.mount("http://", _SecureOnly())
            failures = 0
            while True:
                had = self._size()
                try:
                    self._attempt(session)
                    break
                except requests.exceptions.SSLError as error:
                    raise self._untrusted_certificate(error) from error
                except _PASSING_ERRORS as error:
                    failures = 1 if self._size() > had else failures + 1
                    if failures == ATTEMPTS:
                        raise self._unreachable(error) from error
                    self.message = f"The connection failed ({_reason(error)}); trying again"
                    if self.stopped.wait(BACKOFF_S * 2 ** (failures - 1)):
                        return
                except requests.RequestException as error:
                    raise self._unreachable(error) from error
        self._finish()

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _attempt(self, session: requests.Session) -> None:
        have, known = self._size(), _read_json(self.origin)
        headers = {"Accept-Encoding": "identity"}
        validator = known.get("validator") if known.get("url") == self.url else None
        if have and validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 416 and known.get("size") == have:
                return  # it had all come before
            if response.status_code in _PASSING:
                raise _Retry(f"HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                raise self._refused(response.status_code)
            resumed = response.status_code == 206 and _range_start(response) == have
            if response.status_code == 206 and not resumed:
                self.partial.unlink(missing_ok=True)
                raise _Retry("the server sent another part of the file than was asked for")
            self._receive(response, have if resumed else 0)

    def _receive(self, response: requests.Response, have: int) -> None:
        length = response.headers.get("Content-Length")
        size = have + int(length) if length else None
        # A weak ETag does not promise the same bytes, so it cannot be used to go on with a part.
        etag = response.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        if size is not None:
            check_free_space(self.target.parent, size - have)
        self.origin.write_text(json.dumps({"url": self.url, "validator": validator, "size": size}), "utf-8")
        started, begun_with = time.monotonic(), have
        with self.partial.open("ab" if have else "wb") as file:
            for block in response.iter_content(_CHUNK):
                if self.stopped.is_set():
                    return
                file.write(block)
                have += len(block)
                speed = (have - begun_with) / max(time.monotonic() - started, 1e-3) / 1e6
                of = f" of {size / 1e6:.0f}" if size else ""
                self.fraction = have / size if size else 0.0
                self.message = f"{self.target.name}: {have / 1e6:.0f}{of} MB, {speed:.1f} MB/s"
        if size is not None and have != size:
            raise _Retry(f"the transfer ended after {have} of {size} bytes")

    def _finish(self) -> None:
        if self.stopped.is_set():
            return
        if self.digest is not None:
            found = file_digest(self.partial, algorithm=self.digest.partition(":")[0])
            if found != self.digest:
                self._forget()
                raise ModelError(
                    f"{self.url} is not the expected file: its digest is {found}, not {self.digest}.",
                    "Try again; if it stays so, the file was changed at its source or on the way.",
                    code="model.digest",
                )
        self.partial.replace(self.target)
        self.origin.unlink(missing_ok=True)
        self.fraction = 1.0

    def _forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def _refused(self, status: int) -> ModelError:
        reason = {
            401: "asks for a login",
            403: "refuses access to",
            404: "does not have",
            410: "no longer has",
        }
        host = urlsplit(self.url).hostname
        return ModelError(
            f"{host} {reason.get(status, 'does not send')} {self.url} (HTTP {status}).",
            "Check the address, or ask the publisher.",
            code="model.refused",
        )

    def _unreachable(self, error: Exception) -> ModelError:
        host = urlsplit(self.url).hostname
        return ModelError(
            f"{host} cannot be reached ({_reason(error)}).",
            "Check the connection, and the proxy in HTTPS_PROXY if there is one.",
            code="model.offline",
        )

    def _untrusted_certificate(self, error: Exception) -> ModelError:
        return ModelError(
            f"The certificate of {urlsplit(self.url).hostname} is not trusted: {_reason(error)}.",
            "If your institute inspects encrypted traffic, set REQUESTS_CA_BUNDLE to its certificate file.",
            code="model.certificate",
        )


def _range_start(response: requests.Response) -> int:
    """The first byte of a 206 answer, or -1."""
    span = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(span) if span.isdigit() else -1


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _reason(error: Exception) -> str:
    """The innermost cause in one line, without urllib3's wrapping."""
    while getattr(error, "args", None) and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    return re.sub(r"^\w*Connection\(.*?\): ", "", str(getattr(error, "reason", None) or error)) or type(error).__name__
