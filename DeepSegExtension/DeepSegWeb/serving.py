"""What stands between trame's web server and its clients: the gate, limits on connections, tabs, files in and out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .gate import Gate, page
from .transfers import Transfers
from .uploads import Uploads

LIMIT = 100
"""Connections that may wait at the gate at a time."""
PATIENCE_S = 10.0
"""How long one may wait there, however slowly its bytes arrive."""
HEARTBEAT_S = 5.0  # deepseg.js waits for several
_LOOK_S = 0.25
_ELSEWHERE = page(
    "<h1>DeepSeg is open in another tab</h1><p>Your work goes on there. One tab at a time can show it.</p>"
    '<p><a href="index.html" style="color:#7cc4ff">Use it here</a></p>'
)


def guard(
    server,
    host: str,
    transfers: Transfers,
    receivers: dict[str, Callable[[Path], Awaitable[None]]],
    failed: Callable[[Exception], None],
    came: Callable[[], None],
) -> Gate:
    """Guard a server as soon as it starts, and add uploads and downloads.

    Args:
        server: trame's.
        host: the address that it will listen on.
        transfers: gives the downloads, and the folder for uploads.
        receivers, failed: see :class:`Uploads`.
        came: see :class:`Tabs`.

    Returns:
        the gate, which makes the links.
    """
    gate = Gate(host)

    @server.controller.add("on_server_bind")
    def _(web_server):
        for handler in web_server._ws_handlers:
            handler.sendWrappedMessage = partial(_unless_gone, handler.sendWrappedMessage)
            handler.sendWrappedError = partial(_without_traceback, partial(_unless_gone, handler.sendWrappedError))
        gate.attach(web_server.app)
        waiting = WaitingConnections(web_server)
        web_server.app.router.add_post("/paraview/", _no_launcher)
        Tabs(came).attach(web_server.app)
        transfers.attach(web_server.app)
        Uploads(transfers.folder, failed).attach(web_server.app, receivers)
        server.controller.add_task("on_server_ready")(lambda **_state: waiting.watch())

    return gate


class WaitingConnections:
    """Closes connections that the gate has not let in: few at a time, for a short time, without log messages.

    Args:
        web_server: trame's.
    """

    def __init__(self, web_server):
        self._web_server = web_server
        self._let_in: set[asyncio.BaseProtocol] = set()
        web_server.app.middlewares.append(self._note)
        logging.getLogger("aiohttp.server").addFilter(_is_worth_logging)

    @web.middleware
    async def _note(self, request: web.Request, handler) -> web.StreamResponse:
        self._let_in.add(request.protocol)
        return await handler(request)

    async def watch(self) -> None:
        """Close waiting connections, oldest first, while the server runs; does not return."""
        since: dict[asyncio.BaseProtocol, float] = {}
        while True:
            now, connections = time.monotonic(), self._web_server.runner.server.connections
            self._let_in &= set(connections)
            since = {c: since.get(c, now) for c in connections if c not in self._let_in}  # in the order they came
            for number, (connection, came) in enumerate(since.items()):
                if now - came > PATIENCE_S or len(since) - number > LIMIT:
                    connection.force_close()
            await asyncio.sleep(_LOOK_S)


class Tabs:
    """Shows the session in the newest tab only; older tabs are sent elsewhere.

    Args:
        came: called when a tab opens, or loads the page again.
    """

    def __init__(self, came: Callable[[], None]):
        self._came = came
        self._tabs: list[asyncio.Queue] = []

    def attach(self, app: web.Application) -> None:
        """Add the routes of tabs to an application."""
        app.router.add_get("/alive", self._alive)
        app.router.add_get("/elsewhere", self._elsewhere)

    async def _elsewhere(self, _request: web.Request) -> web.Response:
        return web.Response(text=_ELSEWHERE, content_type="text/html")

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        """A stream that lasts as long as the server; it tells a tab when a newer one takes over."""
        self._came()
        for queue in self._tabs:
            queue.put_nowait("elsewhere")
        queue: asyncio.Queue = asyncio.Queue()
        queue.put_nowait("here")
        self._tabs.append(queue)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
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


async def _no_launcher(_request: web.Request) -> web.Response:
    """trame's page first asks for a launcher of servers, and then connects to this one; a refusal is an error in the
    browser's console."""
    return web.Response(status=204)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _unless_gone(send, *args, **options) -> None:
    """Tell the page something; a tab that closes meanwhile is no error, which the terminal would show at length."""
    with contextlib.suppress(ConnectionError):
        await send(*args, **options)


async def _without_traceback(send, rpcid, code, message, _data=None, client_id=None) -> None:
    """Tell the page that a call failed, without the traceback, which contains paths."""
    await send(rpcid, code, message, client_id=client_id)
