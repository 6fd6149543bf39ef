"""Addresses of servers: encrypted, or on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import UsageError
from .hosts import is_loopback


@dataclass(frozen=True)
class Address:
    """Where a server is."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            UsageError: it is not the address of a server, or would not be encrypted on the network.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        plain = parts.scheme in ("http", "https") and parts.path in ("", "/") and not (parts.query or parts.fragment)
        if not plain or not host or "@" in parts.netloc:
            raise UsageError(
                f"{url} is not the address of a server.", "Give one such as https://gpu.example:8766.", code="usage.url"
            )
        if parts.scheme == "http" and not is_loopback(host):
            raise UsageError(
                f"{url} is not encrypted.", "Use https, or an ssh tunnel to http://127.0.0.1.", code="usage.url"
            )
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))

    @property
    def url(self) -> str:
        """In one way, however it was written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"
