"""Flower's gRPC: a server that exchanges weights with its clients, and a client.

The only file that knows where Flower has these functions; it supports the versions that ``pyproject.toml`` names.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...util.errors import ResourceError, UsageError
from ...util.hosts import is_loopback
from ...util.packages import lacks_extra

TOKEN_VARIABLE = "DEEPSEG_FEDERATED_TOKEN"
REFUSED = "refused"
"""What the server says instead of a nonce to a site that showed another token."""
_MOST_SITES = 64
_REACHED_S = 10.0
_CERTIFICATE = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
    "Hostname Verification": "its certificate is for another address",
}
"""What gRPC says of a certificate, and what it means."""


@dataclass(frozen=True)
class Link:
    """How server and sites reach each other.

    Attributes:
        address: ``host:port`` of the server.
        certificate: PEM file; of the server, or of the authority that a site trusts instead of the system's.
        key: PEM file, of the server.
        token: that sites share with the server; it never travels. Empty for none.
    """

    address: str
    certificate: Path | None = None
    key: Path | None = None
    token: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            UsageError: the address is none.
        """
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(
                f"The address {self.address!r} is not HOST:PORT.", "Give one, as 10.0.0.5:8771.", code="usage.address"
            )
        return host.strip("[]"), int(port)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.place[0])

    def check(self, server: bool) -> None:
        """Check that nothing travels in the clear, and nobody joins unasked.

        Raises:
            UsageError: a certificate, key or token is missing, or cannot be read.
        """
        if not self.is_local and not self.token:
            raise UsageError(
                f"{self.address} can be reached by others, and there is no token.",
                f"Set the same long random text as {TOKEN_VARIABLE} on the server and at the sites.",
                code="usage.token",
            )
        if server and (self.certificate is None) != (self.key is None):
            raise UsageError("Certificate and key belong together.", "Give both.", code="usage.tls")
        if server and not self.is_local and self.certificate is None:
            raise UsageError(
                f"{self.address} can be reached by others, and there is no certificate.",
                "Give a certificate and its key.",
                code="usage.tls",
            )
        for path in (self.certificate, self.key):
            if path is not None:
                self.pem(path)

    def proof(self, nonce: str) -> str:
        """What shows that a site knows the token."""
        return hmac.new(self.token.encode(), nonce.encode(), hashlib.sha256).hexdigest()

    def pem(self, path: Path) -> bytes:
        """The content of a certificate or key.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} cannot be read.", "Give a PEM file.", code="usage.tls") from error
        if b"-----BEGIN" not in content:
            raise UsageError(f"{path} is not a PEM file.", "Give a PEM file.", code="usage.tls")
        return content


def require_flower() -> None:
    """Check that Flower is installed, and let it neither report to its makers nor write to the terminal.

    Raises:
        ResourceError: it is not.
    """
    if find_spec("flwr") is None:
        raise lacks_extra(
            ResourceError,
            "Training at several sites needs Flower, which is not installed.",
            "federated",
            code="resource.package",
            remedy="Install it in an environment of its own: it wants other versions of what DeepSeg uses.",
        )
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # processes that make samples do not use it
    import flwr  # noqa: F401  # makes its logger

    logging.getLogger("flwr").setLevel(logging.CRITICAL)


@contextmanager
def listening(link: Link, most_bytes: int) -> Iterator[Any]:
    """In the ``with`` block, sites can join; gives Flower's ``ClientManager`` of those that did.

    Each of them has an ``address``, that of its machine or of the proxy before it.

    Args:
        most_bytes: of a message.

    Raises:
        UsageError: the address is taken, or not of this machine; or the certificate cannot be used.
    """
    from flwr.server.client_manager import SimpleClientManager
    from flwr.server.superlink.fleet.grpc_bidi import grpc_server

    peer: ContextVar[str] = ContextVar("peer", default="")

    class Sites(SimpleClientManager):  # type: ignore[misc]
        """A bounded number of sites."""

        def register(self, client: Any) -> bool:
            client.address = peer.get().partition(":")[2].rpartition(":")[0]  # of ipv4:10.0.0.7:51234
            return len(self.clients) < _MOST_SITES and bool(super().register(client))

    class Servicer(grpc_server.FlowerServiceServicer):  # type: ignore[misc]
        """Flower's own, which does not say where a client is."""

        def Join(self, requests: Any, context: Any) -> Iterator[Any]:
            peer.set(context.peer())
            yield from super().Join(requests, context)

    manager, certificates = Sites(), None
    if link.certificate is not None and link.key is not None:
        shown = link.pem(link.certificate)
        certificates = (shown, shown, link.pem(link.key))
    try:
        server = grpc_server.generic_create_grpc_server(
            servicer_and_add_fn=(Servicer(manager), grpc_server.add_FlowerServiceServicer_to_server),
            server_address=link.address,
            max_message_length=most_bytes,
            certificates=certificates,
        )
        server.start()
    except (RuntimeError, SystemExit) as error:
        raise UsageError(
            f"The server cannot listen on {link.address}.",
            "Choose an address of this machine with a free port, and check certificate and key.",
            code="usage.address",
        ) from error
    try:
        yield manager
    finally:
        drop_all(manager)
        server.stop(grace=1)


def drop_all(manager: Any) -> None:
    """End the connections to all sites; their requests fail."""
    for client in list(manager.all().values()):
        drop(manager, client)


def drop(manager: Any, client: Any) -> None:
    """End the connection to a site."""
    client.bridge.close()
    manager.unregister(client)


def join(link: Link, client: Any, most_bytes: int) -> None:
    """Be a client until the server says good-bye.

    Args:
        client: a ``flwr.client.Client``.

    Raises:
        ConnectionError: the server cannot be reached, or the connection broke.
    """
    import grpc
    from flwr.client import start_client

    try:
        socket.create_connection(link.place, _REACHED_S).close()  # Flower would leave a thread behind
    except OSError as error:
        raise ConnectionError(error.strerror or "no answer") from error
    roots = None if link.certificate is None else link.pem(link.certificate)
    try:
        start_client(
            server_address=link.address,
            client=client,
            grpc_max_message_length=most_bytes,
            root_certificates=roots,
            insecure=roots is None and link.is_local,
        )
    except (grpc.RpcError, StopIteration) as error:
        raise ConnectionError(_why(error)) from error


def _why(error: Exception) -> str:
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    told = str(details()) if callable(details) else ""
    known = (words for sign, words in _CERTIFICATE.items() if sign in told)
    return next(known, str(code()) if callable(code) else "the connection ended")
