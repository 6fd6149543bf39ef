"""From settings to a server that listens."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..util.errors import UsageError
from ..util.hosts import is_loopback
from ..worker import ProcessLink, WorkerClient
from .app import make_app
from .certificate import fingerprint
from .files import private_folder
from .settings import Settings

_LONGEST_HEADER = 16 << 10


def serve(
    settings: Settings,
    host: str,
    port: int,
    tls: tuple[Path, Path] | None,
    ready: Callable[[str, str], None],
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        port: 0 takes a free one.
        tls: certificate and key; None for plain HTTP, which only this machine may reach.
        ready: is called with the address and the certificate's fingerprint (empty without one).

    Raises:
        UsageError: plain HTTP where other machines can reach it, an address that cannot be used, or another server
            works in the folder.
    """
    if tls is None and not is_loopback(host):
        raise UsageError(f"Other machines can reach {host}, so it needs TLS.", "Give a certificate.", code="usage.tls")
    lock = filelock.FileLock(private_folder(settings.folder) / "server.lock")
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(
            f"Another server works in {settings.folder}.", "Stop it, or choose another folder.", code="usage.folder"
        ) from error
    logging.basicConfig(format="%(asctime)s %(message)s")  # to stderr, as uvicorn's
    logging.getLogger(__package__).setLevel(logging.INFO)
    with held, _listening(host, port) as listener:
        config = uvicorn.Config(
            make_app(settings),
            http=_patient(settings.patience_s),
            ws="none",
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
            limit_concurrency=settings.connections,
            h11_max_incomplete_event_size=_LONGEST_HEADER,
            timeout_graceful_shutdown=2,
            access_log=False,
            log_level="warning",
            server_header=False,
        )
        pin = fingerprint(tls[0]) if tls else ""
        try:
            config.load()  # reads the certificate
        except OSError as error:  # an SSLError is one
            raise UsageError(
                f"The certificate and its key cannot be used ({error}).", "Give a pair, in PEM.", code="usage.tls"
            ) from error
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        ready(f"{'https' if tls else 'http'}://{shown}:{bound}", pin)
        uvicorn.Server(config).run([listener])


def find_devices(names: Sequence[str] = ()) -> tuple[str, ...]:
    """The devices to use, as a worker process finds them.

    Args:
        names: of the devices that are wanted; none for all GPUs.

    Raises:
        ResourceError: this machine, or this torch, lacks a device.
    """
    if {*names} == {"cpu"}:
        return tuple(names)
    with WorkerClient(lambda: ProcessLink(handlers=Settings.handlers)) as client:
        return tuple(client.call("devices", names=[*names]))


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {host}:{port} ({error.strerror}).",
            "Choose another host or port; port 0 takes a free one.",
            code="usage.host",
        ) from error


def _patient(patience_s: float) -> type[H11Protocol]:
    """Connections that are closed when they say nothing for so long: uvicorn waits for a first request for ever."""

    class Patient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._was_idle = False
            self._watch()

        def _watch(self) -> None:
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self._was_idle:
                self.transport.close()
            if not self.transport.is_closing():
                self._was_idle = idle
                self.loop.call_later(patience_s / 2, self._watch)

    return Patient
