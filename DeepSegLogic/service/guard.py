"""What every request must pass before the service looks at it: token, pace, size, and signs of life."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..remote.protocol import VERSION, error_to_json
from ..util.errors import UsageError
from .metrics import Metrics
from .settings import ServiceError, Settings
from .users import Users

log = logging.getLogger(__name__)

OPEN_TO_ALL = ("/", f"/v{VERSION}/about", f"/v{VERSION}/openapi.json")
"""Addresses that need no token; they say nothing about users or data."""

JSON_LIMIT = 4 << 20
"""Largest body that is no upload, in bytes."""

_UPLOAD = re.compile(rf"/v{VERSION}/volumes/[0-9a-f]{{64}}")
_FAILURES, _FAILURES_PER_S = 20, 0.2
_MOST_KEYS = 10_000


class Guard:
    """An ASGI middleware. Puts the user's name into ``request.state.user``."""

    def __init__(self, app: ASGIApp, users: Users, settings: Settings, metrics: Metrics) -> None:
        self._app, self._users, self._settings, self._metrics = app, users, settings, metrics
        self._pace = Pace(settings.burst, settings.rate)
        self._failures = Pace(_FAILURES, _FAILURES_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(status=str(message["status"])).inc()
                # answers may be patients' data, and errors repeat no input as HTML
                message["headers"] = [
                    *message["headers"],
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            limit = self._check(scope)
        except ServiceError as error:
            await problem(error)(scope, receive, count)
            return
        await self._app(scope, _limited(receive, limit, self._settings.patience_s), count)

    def _check(self, scope: Scope) -> int:
        """Check a request before its body; returns the largest body that it may have."""
        path = scope["path"]
        if (version := re.match(r"/v([0-9]{1,9})/", path)) and int(version[1]) != VERSION:
            raise ServiceError(
                404,
                "usage.protocol",
                f"This server speaks version {VERSION} of the protocol, not {version[1]}.",
                "Install the same version of DeepSeg on both sides.",
            )
        if path not in OPEN_TO_ALL:
            scope.setdefault("state", {})["user"] = self._user(scope)
        headers = dict(scope["headers"])
        upload = scope["method"] == "PATCH" and _UPLOAD.fullmatch(path)
        limit = self._settings.largest if upload else JSON_LIMIT
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > 18 or int(announced) > limit:
            raise too_large(limit)
        return limit

    def _user(self, scope: Scope) -> str:
        shown = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        kind, _, token = shown.partition(" ")
        try:
            user = self._users.of_token(token.strip()) if kind.lower() == "bearer" else None
        except (OSError, UsageError):
            log.exception("The tokens cannot be read.")
            raise ServiceError(
                503, "internal", "The server cannot read its tokens.", "Tell whoever runs the server."
            ) from None
        if user is None:  # a valid token always passes: others may share the address, as behind a tunnel
            address = (scope.get("client") or ("",))[0]
            if not self._failures.allow(address):
                raise _too_fast("Too many requests without a valid token.")
            log.warning("%s showed no valid token.", address)
            what = "The token is not valid: it is wrong, or was revoked." if shown else "There is no token."
            raise ServiceError(401, "usage.token", what, "Ask whoever runs the server for one.")
        if not self._pace.allow(user):
            raise _too_fast("Too many requests.")
        return user


class Pace:
    """Lets ``burst`` things happen at once and ``rate`` per second on average, for each key."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._left: dict[str, tuple[float, float]] = {}

    def allow(self, key: str) -> bool:
        """Whether another thing may happen now; it counts, then."""
        left, when = self._left.get(key, (float(self._burst), time.monotonic()))
        left = min(self._burst, left + (time.monotonic() - when) * self._rate)
        if left < 1:
            return False
        if len(self._left) >= _MOST_KEYS and key not in self._left:
            self._left.pop(next(iter(self._left)))
        self._left[key] = left - 1, time.monotonic()
        return True


def problem(error: Exception) -> JSONResponse:
    """The answer for an error."""
    status = error.status if isinstance(error, ServiceError) else 422
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "2"} if status == 429 else None
    return JSONResponse(error_to_json(error), status, headers)


def too_large(limit: int) -> ServiceError:
    """The error for a body that is larger than ``limit`` bytes."""
    return ServiceError(413, "usage.too_large", f"The body is larger than {limit / 1e6:.0f} MB.", "Send less.")


def _too_fast(what: str) -> ServiceError:
    return ServiceError(429, "usage.rate", what, "Wait some seconds, then go on more slowly.")


def _limited(receive: Receive, limit: int, patience_s: float) -> Receive:
    """``receive`` that refuses more than ``limit`` bytes, or a pause in the body."""
    size, more = 0, True

    async def limited() -> Message:
        nonlocal size, more
        try:
            # after the body, this waits for the client's end, as long as it takes
            message = await asyncio.wait_for(receive(), patience_s if more else None)
        except asyncio.TimeoutError:
            raise _as_http(ServiceError(408, "usage.slow", "The body did not arrive in time.", "Go on.")) from None
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if size > limit:
            raise _as_http(too_large(limit))
        return message

    return limited


def _as_http(error: ServiceError) -> HTTPException:
    """An exception that FastAPI lets through while it reads a body."""
    detail: Any = error_to_json(error)
    return HTTPException(error.status, detail)
