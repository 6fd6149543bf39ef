"""Where an archive (DICOMweb) is, and how to log in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...util.errors import UsageError
from ...util.hosts import is_loopback

PREFIX = "DEEPSEG_PACS_"
"""Of the environment variables that hold :class:`ArchiveSettings`."""


@dataclass(frozen=True)
class ArchiveSettings:
    """Where the archive is, and how to log in.

    Attributes:
        url: of its DICOMweb service, e.g. ``https://pacs/dicom-web``.
        token: bearer token; or ``user`` and ``password``; all empty for no login.
        ca_file: certificates (PEM) of the authority that signed the archive's; empty for the system's authorities.
    """

    url: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ArchiveSettings:
        """The settings in ``DEEPSEG_PACS_URL``, ``_TOKEN``, ``_USER``, ``_PASSWORD`` and ``_CA_FILE``.

        Raises:
            UsageError: no URL.
        """
        values = {name: environment.get(PREFIX + name.upper(), "") for name in cls.__dataclass_fields__}
        if not values["url"]:
            raise UsageError(
                "No archive is configured.", f"Set {PREFIX}URL to its DICOMweb address.", code="usage.archive"
            )
        return cls(**values)


def must_be_safe(settings: ArchiveSettings) -> None:
    """Check that the address is one, and that no login goes over the network unencrypted."""
    try:
        parts = urlsplit(settings.url)
    except ValueError:  # such as a bracket that is not closed
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise UsageError(
            f"{PREFIX}URL is not an address such as https://pacs/dicom-web.", "Correct it.", code="usage.archive"
        )
    if parts.scheme == "http" and (settings.token or settings.user) and not is_loopback(parts.hostname):
        raise UsageError(
            f"{PREFIX}URL is not encrypted, so that the login could be read on the way.",
            "Use https.",
            code="usage.archive",
        )


def login(settings: ArchiveSettings) -> Callable[[Any], Any]:
    """What logs in each request; also without a login, so that no .netrc is read."""
    from requests.auth import HTTPBasicAuth

    def bearer(request: Any) -> Any:
        if settings.token:
            request.headers["Authorization"] = f"Bearer {settings.token}"
        return request

    basic: Callable[[Any], Any] = HTTPBasicAuth(settings.user.encode(), settings.password.encode())
    return basic if settings.user and not settings.token else bearer
