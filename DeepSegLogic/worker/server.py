"""A worker for clients on a TCP port, e.g. on the institute's GPU machine."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping

from ..errors import DeepSegError, UsageError
from .channel import ARRAY_LIMIT, LINE_LIMIT, Channel
from .engine import Handler, Worker
from .handlers import HANDLERS
from .handshake import welcome
from .links import hang_up

STRANGER_LINE_LIMIT = 4096  # bytes of a message from someone who has not shown the token
STRANGER_PATIENCE = 10.0  # seconds until the token must be shown, however slowly the bytes drip


class Server:
    """Listens, and gives every client that knows the token its own conversation with one worker.

    Args:
        host, port: to listen on; port 0 takes a free one, see ``address``.
        token: what clients must show; not empty.
        allow_remote: listen on an address that other machines reach. The traffic is not encrypted.
        array_limit: bytes of arrays that a request may have.
        handlers: what can be asked for.

    Raises:
        UsageError: the address cannot be listened on, or is not this machine's own and that was not allowed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        *,
        allow_remote: bool = False,
        array_limit: int = ARRAY_LIMIT,
        handlers: Mapping[str, Handler] = HANDLERS,
    ):
        if not token:
            raise UsageError("The service needs a token.", "Give one with --token.", code="usage.token")
        if not (allow_remote or _is_loopback(host)):
            raise UsageError(
                f"Other machines can reach {host}, and the traffic is not encrypted.",
                "Listen on 127.0.0.1 and tunnel the port with ssh, or say --allow-remote.",
                code="usage.host",
            )
        self._token, self._array_limit = token, array_limit
        self._worker = Worker(handlers)
        try:
            self._socket = socket.create_server((host, port), family=_family(host))
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {host}:{port} ({error.strerror}).",
                "Choose another host or port; port 0 takes a free one.",
                code="usage.host",
            ) from error

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return self._socket.getsockname()[:2]

    def run(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._accept, name="deepseg-accept", daemon=True).start()
        self._worker.run()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # gone before we looked, or too many open: others still want to come
                time.sleep(0.1)
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        channel = Channel(line_limit=STRANGER_LINE_LIMIT, array_limit=0)
        channel.connect(connection.makefile("rb"), connection.makefile("wb"))
        if self._is_welcome(connection, channel):
            channel.line_limit, channel.array_limit = LINE_LIMIT, self._array_limit
            channel.start()
            self._worker.serve(channel)
        _part(connection, channel)

    def _is_welcome(self, connection: socket.socket, channel: Channel) -> bool:
        """Whether a stranger shows the token, and in time."""
        impatience = threading.Timer(STRANGER_PATIENCE, hang_up, [connection])
        impatience.daemon = True
        impatience.start()
        try:
            welcome(channel, token=self._token)
            return True
        except (DeepSegError, OSError):
            return False
        finally:
            impatience.cancel()


def _part(connection: socket.socket, channel: Channel) -> None:
    """End a conversation so that its last words arrive: closing over unread input would discard them."""
    channel.finish(STRANGER_PATIENCE)
    deadline = time.monotonic() + STRANGER_PATIENCE
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(STRANGER_PATIENCE)
        while connection.recv(1 << 20) and time.monotonic() < deadline:
            pass
    except OSError:  # the other side did not wait
        pass
    hang_up(connection)
    channel.close()
    connection.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
