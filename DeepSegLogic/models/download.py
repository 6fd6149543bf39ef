"""Download of one file: resumed, retried, checked and cancellable.

Proxies and certificate authorities come from the environment, as always with ``requests`` (``HTTPS_PROXY``,
``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import errno
import json
import re
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from ..util.digests import file_digest
from ..util.disk_space import check_free_space, disk_full
from ..util.errors import Cancelled, DeepSegError, ModelError, OutputError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from ..util.staging import move

ATTEMPTS = 5
BACKOFF_S = 0.5  # before the second attempt; doubled each time
TIMEOUT_S = (10.0, 30.0)  # connect, and between two reads
LIMIT_BYTES = 16 << 30  # of a file of unknown size
_TOO_LARGE = "model.size"
_CHUNK = 1 << 18
_POLL_S = 0.2
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def download(
    url: str,
    target: Path,
    *,
    digest: str | None = None,
    limit: int = LIMIT_BYTES,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Path:
    """Download ``url`` to ``target``, resuming an earlier call.

    A partial download stays beside the target as ``<name>.partial``, whatever stops the transfer. It is resumed if the
    server still has the same file (``Range`` with ``If-Range``).

    Args:
        digest: ``"sha256:…"`` or ``"sha1:…"`` that the file must have.
        limit: largest size in bytes, whatever the server announces.

    Raises:
        ModelError: the address is not https, the server refuses or cannot be reached, or the file is too large or not
            the expected one.
        ResourceError: the disk has too little space.
        OutputError: the file cannot be written.
        Cancelled: the user cancelled.
    """
    transfer = _Transfer(url, target, digest, limit)
    # A thread, as the network may hang for longer than the user wants to wait.
    thread = threading.Thread(target=transfer.run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        progress("download", transfer.fraction, transfer.message)
        if cancel():
            transfer.stopped.set()
            thread.join(_POLL_S)
            raise Cancelled("The download was cancelled.", "The partial download is kept and resumed next time.")
    if transfer.error is not None:
        raise transfer.error
    return target


class _SecureOnly(HTTPAdapter):
    """Refuses plain http to other machines, also in redirects."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if urlsplit(request.url).hostname not in _LOOPBACK:
            raise ModelError(
                f"The address {request.url} is not encrypted, so the download was refused.",
                "Use an https address.",
                code="model.insecure",
            )
        response: requests.Response = super().send(request, *args, **kwargs)
        return response


class _Retry(Exception):
    """This attempt failed, but the next one may succeed."""


_PASSING_ERRORS = (
    _Retry,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class _Transfer:
    """A download in its own thread; the caller's thread reads ``fraction``, ``message`` and ``error``."""

    def __init__(self, url: str, target: Path, digest: str | None, limit: int) -> None:
        self.url, self.target, self.digest, self.limit = url, target, digest, limit
        self.partial = target.with_name(target.name + ".partial")
        self.origin = target.with_name(target.name + ".partial.json")  # address and version of the partial file
        self.fraction, self.message = 0.0, f"Connecting to {urlsplit(url).hostname}"
        self.error: Exception | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            self._run()
        except DeepSegError as error:
            self.error = error
            if error.code == _TOO_LARGE:
                self._forget()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.error = disk_full(self.target.parent, "it filled up during the download")
            else:
                self.error = OutputError(
                    f"{error.filename or self.target} cannot be written: {error.strerror}.",
                    "Set DEEPSEG_MODELS to a folder that you may write to.",
                )
        except Exception as error:  # the caller's thread raises it
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
                    failures = 1 if self._size() >= had + _CHUNK else failures + 1
                    if failures == ATTEMPTS:
                        raise self._unreachable(error) from error
                    self.message = f"The connection failed ({_reason(error)}); trying again"
                    if self.stopped.wait(BACKOFF_S * 2 ** (failures - 1)):
                        return
                except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
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
            if self.stopped.is_set():
                return  # the caller has gone on, and may be downloading to the same place again
            if response.status_code == 416 and known.get("size") == have:
                return  # the partial file is complete
            if response.status_code in _PASSING:
                raise _Retry(f"HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                raise self._refused(response.status_code)
            resumed = response.status_code == 206 and _range_start(response) == have
            if response.status_code == 206 and not resumed:
                self.partial.unlink(missing_ok=True)
                raise _Retry("the server sent the wrong part of the file")
            self._receive(response, have if resumed else 0)

    def _receive(self, response: requests.Response, have: int) -> None:
        length = response.headers.get("Content-Length", "")
        size = have + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        # A weak ETag does not promise identical bytes, so it cannot be used to resume.
        etag = response.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        if size is not None:
            self._check_size(size)
            check_free_space(self.target.parent, size - have)
        self.origin.write_text(json.dumps({"url": self.url, "validator": validator, "size": size}), "utf-8")
        started, begun_with = time.monotonic(), have
        with self.partial.open("ab" if have else "wb") as file:
            for block in response.iter_content(_CHUNK):
                if self.stopped.is_set():
                    return
                have += len(block)
                self._check_size(have)
                file.write(block)
                speed = (have - begun_with) / max(time.monotonic() - started, 1e-3) / 1e6
                of = f" of {size / 1e6:.0f}" if size else ""
                self.fraction = have / size if size else 0.0
                self.message = f"{self.target.name}: {have / 1e6:.0f}{of} MB, {speed:.1f} MB/s"
        if size is not None and have != size:
            raise _Retry(f"the transfer ended after {have} of {size} bytes")

    def _check_size(self, size: int) -> None:
        if size > self.limit:
            raise ModelError(
                f"{self.url} is larger than expected ({self.limit / 1e6:.0f} MB), so the download was stopped.",
                "Try again later. If this happens again, ask the publisher.",
                code=_TOO_LARGE,
            )

    def _finish(self) -> None:
        if self.stopped.is_set():
            return
        if self.digest is not None:
            found = file_digest(self.partial, algorithm=self.digest.partition(":")[0])
            if found != self.digest:
                self._forget()
                raise ModelError(
                    f"{self.url} is not the expected file: its digest is {found}, not {self.digest}.",
                    "Try again. If this happens again, the file was changed by its publisher or on the way.",
                    code="model.digest",
                )
        move(self.partial, self.target)
        self.origin.unlink(missing_ok=True)
        self.fraction = 1.0

    def _forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def _refused(self, status: int) -> ModelError:
        reason = {
            401: "asks for a login for",
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
            "Check the connection, and HTTPS_PROXY if there is a proxy.",
            code="model.offline",
        )

    def _untrusted_certificate(self, error: Exception) -> ModelError:
        return ModelError(
            f"The certificate of {urlsplit(self.url).hostname} is not trusted: {_reason(error)}.",
            "If your institute inspects encrypted traffic, set REQUESTS_CA_BUNDLE to its certificate file.",
            code="model.certificate",
        )


def _range_start(response: requests.Response) -> int:
    """First byte of a 206 response; -1 if it is not stated."""
    span = re.match("bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    return int(span[1]) if span else -1


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _reason(error: Exception) -> str:
    """The innermost cause in one line, without the wrapping by urllib3."""
    while getattr(error, "args", None) and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    return re.sub(r"^\w*Connection\(.*?\): ", "", str(getattr(error, "reason", None) or error)) or type(error).__name__
