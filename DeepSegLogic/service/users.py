"""Users of a server and their tokens, of which only digests are kept."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

import filelock

from ..util.errors import UsageError
from .files import private_folder, write_json

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_Entries: TypeAlias = dict[str, dict[str, str]]


class Users:
    """The users of a server. A change counts at once, also for a server that runs.

    Args:
        folder: of the server.

    Raises:
        UsageError: of all methods, if the file of tokens is damaged.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> users = Users(Path(mkdtemp()))
        >>> token = users.add("ward3")
        >>> users.of_token(token), users.of_token("guess")
        ('ward3', None)
    """

    def __init__(self, folder: Path) -> None:
        self._path = private_folder(folder) / "tokens.json"
        self._lock = filelock.FileLock(folder / "tokens.lock")
        self._read: tuple[tuple[int, int, int], _Entries] = ((0, 0, 0), {})

    def add(self, name: str) -> str:
        """Make a user's token; returns it. It is not kept, so it cannot be shown again.

        Raises:
            UsageError: a name that is not one, or that has a token.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a name for a user.",
                "Use up to 32 lower-case letters, digits, hyphens and underscores.",
                code="usage.user",
            )
        token = secrets.token_urlsafe(24)
        with self._lock:
            entries = self._entries()
            if name in entries:
                raise UsageError(f"{name} has a token already.", "Revoke it first.", code="usage.user")
            made = datetime.now(timezone.utc).isoformat(timespec="seconds")
            write_json(self._path, {**entries, name: {"sha256": _digest(token), "made": made}})
        return token

    def revoke(self, name: str) -> None:
        """Make a user's token worthless.

        Raises:
            UsageError: there is no such user.
        """
        with self._lock:
            entries = dict(self._entries())
            if entries.pop(name, None) is None:
                raise UsageError(f"{name} has no token.", "Check the name.", code="usage.user")
            write_json(self._path, entries)

    def made(self) -> dict[str, str]:
        """When each user's token was made, by name."""
        return {name: entry["made"] for name, entry in sorted(self._entries().items())}

    def of_token(self, token: str) -> str | None:
        """The user with this token."""
        shown, found = _digest(token), None
        for name, entry in self._entries().items():
            if secrets.compare_digest(entry["sha256"], shown):
                found = name
        return found

    def _entries(self) -> _Entries:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        version = status.st_mtime_ns, status.st_ino, status.st_size
        if version != self._read[0]:
            self._read = version, self._entries_in(self._path.read_bytes())
        return self._read[1]

    def _entries_in(self, content: bytes) -> _Entries:
        try:
            found = json.loads(content)
            return {str(name): {key: str(entry[key]) for key in ("sha256", "made")} for name, entry in found.items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self._path} is damaged.",
                "Restore it from a backup, or delete it and make the tokens again.",
                code="usage.tokens",
            ) from error


def _digest(token: str) -> str:
    # Tokens are random, 192 bits: a slow hash would protect nothing more.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
