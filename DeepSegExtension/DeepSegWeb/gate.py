"""Access to the page: only with the cookie, under a name of this machine, and not from another site."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import secrets
import socket
import sys
import time
from pathlib import Path

from aiohttp import web

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>DeepSeg</title>
<link rel="icon" href="data:,">{head}
<body style="background:#15181c;color:#e6e8ea;font:16px sans-serif;display:grid;place-items:center;height:95vh">
<main style="text-align:center">{main}</main></body></html>"""
_REFUSED = "<h1>This link is incomplete or expired</h1><p>Open the link from the terminal: it contains the token.</p>"
_MISDIRECTED = (
    "<h1>DeepSeg is not at this address</h1>"
    "<p>Open the link from the terminal: it contains the right address and the token.</p>"
)
_FOREIGN = "<h1>Other sites cannot use DeepSeg</h1><p>Open the link from the terminal: it contains the token.</p>"
_AGAIN = '<meta http-equiv="refresh" content="0">'
PAGE = "/index.html"
ONE_TIME_S = 60.0
"""Lifetime of the one-time link."""
HEADERS = {
    # Vue compiles the page's templates in the browser, hence unsafe-eval; all content is our own.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",  # patients' data
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the link contains the token
    "X-Content-Type-Options": "nosniff",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


def page(main: str, head: str = "") -> str:
    """A small page around some HTML."""
    return _PAGE.format(main=main, head=head)


class Gate:
    """Exchanges a link for a cookie, and answers only requests with that cookie.

    There are two links. The printed one contains a token and works as long as the server runs. The browser is opened
    with one that works once, within a minute, because all users of a machine can read command lines.

    Args:
        host: the address that the server listens on.
    """

    def __init__(self, host: str):
        self._token, self._cookie = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._code, self._code_until = "", 0.0
        self._host = host.lower()
        self._anywhere = self._host in ("", "0.0.0.0", "::")
        self._names = {"localhost", self._host}
        if self._anywhere:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def attach(self, app: web.Application) -> None:
        """Guard an application."""
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(_add_headers)

    def link(self, port: int) -> str:
        """The link to print."""
        return f"{self._address(port)}?token={self._token}"

    def one_time_link(self, port: int) -> str:
        """A link for a command line; it replaces the one before."""
        self._code, self._code_until = secrets.token_urlsafe(24), time.monotonic() + ONE_TIME_S
        return f"{self._address(port)}?once={self._code}"

    def _address(self, port: int) -> str:
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{shown}:{port}{PAGE}"

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        host = _HOST.fullmatch(request.headers.get("Host", ""))
        if host is None or not self._is_ours(host[1].lower()):
            return _refuse(_MISDIRECTED)
        if _is_foreign(request):
            return _refuse(_FOREIGN)
        name = f"deepseg-{host[2] or 80}"  # cookies are shared by all ports
        token, code = request.query.get("token", ""), request.query.get("once", "")
        entered = self._takes(code, request) if code else _same(token, self._token)
        if not entered and not _same(request.cookies.get(name, ""), self._cookie):
            # A browser that follows another site's link sends no cookie, but does so when it reloads the page.
            followed = request.path == PAGE and request.headers.get("Sec-Fetch-Site") == "cross-site"
            return _refuse(_REFUSED, _AGAIN if followed else "")
        if (token or code) and request.method == "GET":  # remove the token from the address bar
            clean = web.HTTPSeeOther(PAGE)
            clean.set_cookie(name, self._cookie, httponly=True, samesite="Strict")
            raise clean
        return await handler(request)

    def _is_ours(self, name: str) -> bool:
        """Whether a name is this machine's. A foreign site could point its own name here (DNS rebinding)."""
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self._names
        return self._anywhere or address.is_loopback or str(address) == self._host

    def _takes(self, code: str, request: web.Request) -> bool:
        """Whether the code of the one-time link is valid; it is used up then."""
        if request.method != "GET" or not _same(code, self._code) or time.monotonic() > self._code_until:
            return False
        if _is_another_user(request.transport):  # faster than the browser
            return False
        self._code = ""
        return True


def _is_another_user(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a connection comes from a process of another user of this machine, except root.

    Only Linux tells. Elsewhere, and for other machines, the answer is no.
    """
    if transport is None or sys.platform != "linux":
        return False
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    wanted = [_in_table(peer), _in_table(own)]
    for table in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[1:3] == wanted:
                return int(columns[7]) not in (os.getuid(), 0)
    return False


def _in_table(address: tuple) -> str:
    """An address as the kernel writes it: its words in the machine's byte order, then the port."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    packed = socket.inet_pton(family, address[0].partition("%")[0])
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def _same(shown: str, wanted: str) -> bool:
    return bool(wanted) and secrets.compare_digest(shown.encode(errors="replace"), wanted.encode())


def _is_foreign(request: web.Request) -> bool:
    """Whether another site, or another port of this address, makes the request. It may open the page, but no more."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}"):
        return True
    opens = request.method == "GET" and request.path in ("/", PAGE)
    opens = opens and request.headers.get("Sec-Fetch-Dest") == "document"
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and not opens


def _refuse(main: str, head: str = "") -> web.Response:
    response = web.Response(status=403, text=page(main, head), content_type="text/html")
    response.force_close()
    return response


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
