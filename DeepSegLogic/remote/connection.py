"""Requests to a server: token, certificate, limits, and another try when the connection is lost."""

from __future__ import annotations

import hmac
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..util.address import Address
from ..util.digests import certificate_digest
from ..util.errors import DeepSegError, ResourceError, UsageError
from ..util.progress import Cancel, check, never_cancel
from .protocol import VERSION, error_from_json, json_from

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

_CONNECT_S, _READ_S = 10.0, 30.0
_MOST_JSON = 64 << 20
_RETRIED = (408, 429, 499, 502, 503, 504)


def presented_fingerprint(address: Address) -> str:
    """SHA-256 of the certificate that a server shows now, ``AB:CD:…``; empty for plain HTTP.

    Raises:
        ResourceError: it cannot be reached.
    """
    if address.scheme == "http":
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whoever asks compares it
    try:
        with (
            socket.create_connection((address.host, address.port), _CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as connection,
        ):
            shown = connection.getpeercert(binary_form=True) or b""
    except (OSError, UnicodeError) as error:  # the second of a name that no machine can have
        raise unreachable(address.url) from error
    return certificate_digest(shown)


class Connection:
    """A server, for one user.

    Args:
        url: such as ``https://gpu.example:8766``; ``http`` for this machine only.
        token: of the user.
        fingerprint: SHA-256 of the certificate that the server must show; empty for one that an authority signed.
        patience_s: how long to try again when the server cannot be reached.
    """

    def __init__(self, url: str, token: str, fingerprint: str = "", patience_s: float = 60.0) -> None:
        self.address, self.patience_s = Address.of(url), patience_s
        self._token, self._fingerprint = token, fingerprint.replace(":", "").lower()
        self._session: Session | None = None

    def ask(
        self, method: str, path: str, *, cancel: Cancel = never_cancel, patience_s: float | None = None, **more: Any
    ) -> Any:
        """Send a request; returns the JSON of the answer. All requests may be sent twice.

        Args:
            path: below ``/v1``.
            patience_s: for this request, instead of that of the connection.
            more: ``json``, ``data``, ``params`` and ``headers`` of the request.

        Raises:
            DeepSegError: what the server said, or that it cannot be reached.
        """
        with self.opened(method, path, cancel=cancel, patience_s=patience_s, **more) as response:
            return json_from(b"".join(bounded(response, _MOST_JSON)))

    @contextmanager
    def opened(
        self, method: str, path: str, *, cancel: Cancel = never_cancel, patience_s: float | None = None, **more: Any
    ) -> Iterator[Response]:
        """As :meth:`ask`, but gives the answer before its body was read."""
        end = time.monotonic() + (self.patience_s if patience_s is None else patience_s)
        response = self._answer(method, path, cancel, end, more)
        with response:
            if response.status_code >= 400:
                raise self._refusal(response)
            yield response

    def _answer(self, method: str, path: str, cancel: Cancel, end: float, more: Mapping[str, Any]) -> Response:
        import requests

        pause = 0.2
        while True:
            check(cancel)
            response = None
            try:
                response = self._made_session().request(
                    method, f"{self.address.url}/v{VERSION}{path}", stream=True, allow_redirects=False,
                    timeout=(_CONNECT_S, _READ_S), **more,
                )  # fmt: skip
                if response.status_code not in _RETRIED or time.monotonic() > end:
                    return response
                response.close()
            except requests.exceptions.SSLError as error:
                raise self._distrusted(error) from error
            except requests.exceptions.RequestException as error:
                if time.monotonic() > end:
                    raise unreachable(self.address.url) from error
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(2 * pause, 3.0)

    def _made_session(self) -> Session:
        if self._session is None:
            import requests

            self._session = session = requests.Session()
            session.trust_env = False  # no proxy, no .netrc: the token goes to this address only
            session.auth = self._sign
            if self._fingerprint:
                session.mount("https://", _pinned(self._fingerprint))
        return self._session

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _refusal(self, response: Response) -> DeepSegError:
        try:
            told = json_from(b"".join(bounded(response, 1 << 20)))
        except DeepSegError:
            told = None
        error = error_from_json(told)
        if error.code == "usage.token":
            return UsageError(error.message, error.remedy, code=error.code, action="give_token")
        return error

    def _distrusted(self, error: Exception) -> DeepSegError:
        if not self._fingerprint:
            return UsageError(
                f"No authority that this machine knows signed the certificate of {self.address.url}.",
                "Compare its fingerprint with the one that the server prints, then save the server.",
                code="usage.certificate",
                action="save_server",
            )
        if "ingerprint" not in str(error):
            return unreachable(self.address.url)
        return UsageError(
            f"{self.address.url} shows another certificate than the one that was saved. Nothing was sent.",
            "Ask whoever runs it whether the certificate was changed; somebody may be listening.",
            code="usage.certificate",
            action="save_server",
        )


def bounded(response: Response, most: int) -> Iterator[bytes]:
    """The body of an answer, piece by piece, at most so many bytes.

    Raises:
        DeepSegError: it is longer, or breaks off (``"resource.connection"``).
    """
    import requests

    size = 0
    try:
        for piece in response.iter_content(1 << 16):
            size += len(piece)
            if size > most:
                raise error_from_json(None)
            yield piece
    except requests.exceptions.RequestException as error:
        raise ResourceError("The connection was lost.", "Try again.", code="resource.connection") from error


def unreachable(url: str) -> DeepSegError:
    """The error for a server that does not answer."""
    return ResourceError(
        f"The server {url} cannot be reached.",
        "Check the address and the network.",
        code="resource.server",
        action="start_service",
    )


def same_fingerprint(one: str, other: str) -> bool:
    """Whether two fingerprints are the same, with or without colons."""
    plain = [text.replace(":", "").lower().encode(errors="replace") for text in (one, other)]
    return hmac.compare_digest(*plain)


def _pinned(fingerprint: str) -> Any:
    """An adapter that accepts one certificate, whoever signed it and however old it is."""
    from requests.adapters import HTTPAdapter

    class Pinned(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options, assert_fingerprint=fingerprint, assert_hostname=False)

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, False, cert)

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            return super().build_connection_pool_key_attributes(request, False, cert)

    return Pinned()
