"""A running `deepseg web`, and clients that keep to no rules."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgpack
from browser.conftest import Server, start, stop

__all__ = ["HOST", "ROUTES", "Page", "Server", "awaited", "start", "stop"]
T = TypeVar("T")
HOST = "127.0.0.1"
ROUTES = [
    ("GET", "/"),
    ("GET", "/index.html"),
    ("GET", "/ws"),
    ("GET", "/alive"),
    ("GET", "/elsewhere"),
    ("GET", "/deepseg/deepseg.js"),
    ("GET", "/download/x/y"),
    ("GET", "/no/such"),
    ("POST", "/upload"),
    ("POST", "/model"),
    ("DELETE", "/index.html"),
]


class Page:
    """Asks a server, with its cookie or without.

    Args:
        server: the running one.

    Attributes:
        cookie: what the printed link gave, ``name=value``.
    """

    def __init__(self, server: Server):
        self.server = server
        self.port = urlsplit(server.url).port
        path = server.url.partition(str(self.port))[2]
        self.cookie = self.ask("GET", path, cookie="").headers["Set-Cookie"].partition(";")[0]

    def ask(self, method, path, body=None, *, cookie=None, **headers) -> http.client.HTTPResponse:
        """Send a request; an underscore in a header's name stands for a dash."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=200)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = self.cookie if cookie is None else cookie
        connection.request(method, path, body, {**fields, **({"Cookie": cookie} if cookie else {})})
        return connection.getresponse()

    def connect(self) -> socket.socket:
        """A connection on which nothing was said yet."""
        return socket.create_connection((HOST, self.port), timeout=60)

    def left(self) -> list[Path]:
        """What uploads left behind."""
        return list(Path(self.server.temporary).glob("deepseg-*/files/*"))

    def call(self, method: str, *args) -> dict:
        """Call something of the page's socket; returns the answer, with ``result`` or ``error``."""
        return awaited(self._call(method, args))

    def alert(self) -> str:
        """What the page tells at the moment."""
        alert = self.call("trame.state.get")["result"]["state"]["alert"]
        return " ".join(alert.values()) if alert else ""

    async def _call(self, method: str, args) -> dict:
        address, ids = f"http://{HOST}:{self.port}/ws", itertools.count(1)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, headers={"Cookie": self.cookie}, max_msg_size=0) as ws,
        ):
            await _ask(ws, next(ids), "wslink.hello", [{"secret": "wslink-secret"}], "system")
            return await _ask(ws, next(ids), method, list(args), "rpc")


def awaited(coroutine: Coroutine[None, None, T]) -> T:
    """What it returns; run in a thread, because playwright keeps a loop running in ours."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


async def _ask(ws, number: int, method: str, args: list, kind: str) -> dict:
    name = f"{kind}:c0:{number}"
    message = msgpack.packb({"wslink": "1.0", "id": name, "method": method, "args": args, "kwargs": {}})
    header = b"".join(n.to_bytes(4, "little") for n in (number, 0, len(message)))
    await ws.send_bytes(header + message)
    parts: dict[bytes, bytes] = {}
    while True:
        received = (await ws.receive(timeout=60)).data
        whole = parts[received[:4]] = parts.get(received[:4], b"") + received[12:]
        if len(whole) == int.from_bytes(received[8:12], "little"):
            answer = msgpack.unpackb(parts.pop(received[:4]), strict_map_key=False)
            if answer.get("id") == name:
                return answer


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict]:
    """The body of an upload and its headers; names go as they are."""
    body = b""
    for name, content in files:
        disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'
        body += b"--x\r\n" + disposition.encode(errors="surrogateescape") + b"\r\n\r\n" + content + b"\r\n"
    return body + b"--x--\r\n", {"Content_Type": "multipart/form-data; boundary=x"}
