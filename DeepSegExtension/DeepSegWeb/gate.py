"""What the page needs beside trame's socket: the token, and one tab at a time."""

from __future__ import annotations

import asyncio
import secrets

from aiohttp import web

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>DeepSeg</title>
<body style="background:#15181c;color:#e6e8ea;font:16px sans-serif;display:grid;place-items:center;height:95vh">
<main style="text-align:center">{}</main></body></html>"""
REFUSED = _PAGE.format(
    "<h1>This is not the whole link, or an old one</h1>"
    "<p>The address needs the token that <code>deepseg web</code> printed. Open the link from the terminal.</p>"
)
ELSEWHERE = _PAGE.format(
    "<h1>DeepSeg is open in another tab</h1><p>Your work goes on there. One tab at a time can show it.</p>"
    '<p><a href="index.html" style="color:#7cc4ff">Use it here</a></p>'
)
HEARTBEAT_S = 5.0  # deepseg.js waits for several
HEADERS = {
    # Vue compiles the page's templates in the browser, hence unsafe-eval; nothing comes from elsewhere.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the link holds the token
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """Lets in only who shows the token: in the link first, then in a cookie that other sites cannot use.

    Attributes:
        token: what the link must hold.
    """

    def __init__(self):
        self.token = secrets.token_urlsafe(24)
        self._tabs: list[asyncio.Queue] = []

    def attach(self, app: web.Application) -> None:
        """Guard an application, and tell its tabs when another one takes over."""
        app.middlewares.append(self._guard)
        app.router.add_get("/alive", self._alive)
        app.router.add_get("/elsewhere", self._elsewhere)

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        cookie = f"deepseg-{request.host.rpartition(':')[2]}"  # cookies know no ports
        shown = request.query.get("token") or request.cookies.get(cookie, "")
        origin = request.headers.get("Origin")
        foreign = origin is not None and origin.partition("://")[2] != request.host
        if foreign or not secrets.compare_digest(shown.encode(), self.token.encode()):
            return web.Response(status=403, text=REFUSED, content_type="text/html")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
            response.set_cookie(cookie, self.token, httponly=True, samesite="Strict")
        return response

    async def _elsewhere(self, _request: web.Request) -> web.Response:
        return web.Response(text=ELSEWHERE, content_type="text/html")

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        """A stream that lives as long as the server; the newest tab keeps it, older ones are sent elsewhere."""
        for queue in self._tabs:
            queue.put_nowait("elsewhere")
        queue: asyncio.Queue = asyncio.Queue()
        queue.put_nowait("here")
        self._tabs.append(queue)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            await response.prepare(request)
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except asyncio.TimeoutError:
                    text = "alive"  # fails if the tab has gone
                await response.write(f"data: {text}\n\n".encode())
        except ConnectionError:
            pass
        finally:
            self._tabs.remove(queue)
        return response
