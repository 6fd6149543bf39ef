"""A worker for clients on a TCP port, e.g. on the institute's GPU machine."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping

from ..util.errors import UsageError
from .channel import ARRAY_LIMIT, LINE_LIMIT, Channel
from .handlers import HANDLERS
from .handshake import greet_client
from .job_loop import Handler, Worker
from .transports import hang_up

STRANGER_LINE_LIMIT = 4096  # bytes of a message before the token was accepted
STRANGER_PATIENCE = 10.0  # seconds in which the token must arrive


class Server:
    """Listens on a port and connects every client that knows the token to one worker.

    Args:
        host, port: to listen on; port 0 takes a free one, see ``address``.
        token: that clients must send; not empty.
        allow_remote: allow an address that other machines reach. The traffic is not encrypted.
        array_limit: largest arrays of a request, in bytes.
        handlers: the requests.

    Raises:
        UsageError: no token, an address that other machines reach without ``allow_remote``, or one in use.
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
    ) -> None:
        if not token:
            raise UsageError("The service needs a token.", code="usage.token", action="give_token")
        if not (allow_remote or _is_loopback(host)):
            raise UsageError(
                f"Other machines can reach {host}, and the traffic is not encrypted.",
                "Listen on 127.0.0.1 and tunnel the port with ssh.",
                code="usage.host",
                action="accept_remote",
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
        """Host and port on which the server listens."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def run(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._accept, name="deepseg-accept", daemon=True).start()
        self._worker.run()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # the client has gone, or too many are open: keep accepting others
                time.sleep(0.1)
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        channel = Channel(line_limit=STRANGER_LINE_LIMIT, array_limit=0)
        channel.connect(connection.makefile("rb"), connection.makefile("wb"))
        if self._has_token(connection, channel):
            channel.line_limit, channel.array_limit = LINE_LIMIT, self._array_limit
            channel.start()
            self._worker.serve(channel)
        _close(connection, channel)

    def _has_token(self, connection: socket.socket, channel: Channel) -> bool:
        """Whether the client sends the token in time."""
        timeout = threading.Timer(STRANGER_PATIENCE, hang_up, [connection])
        timeout.daemon = True
        timeout.start()
        try:
            greet_client(channel, token=self._token)
            return True
        except Exception:  # anything may arrive here, and nobody can act on it
            return False
        finally:
            timeout.cancel()


def _close(connection: socket.socket, channel: Channel) -> None:
    """End a connection so that the last messages arrive: closing with unread input would discard them."""
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
