"""Ports for servers that are told theirs, or that start again where they were."""

import secrets
import socket
from contextlib import suppress

FIRST, END = 15_000, 32_000
"""Below those that systems give to connections and to port 0: such a port may be taken before its server starts."""


def free_port() -> int:
    """A port of the loopback address that nobody uses."""
    while True:
        port = FIRST + secrets.randbelow(END - FIRST)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
