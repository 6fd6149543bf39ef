"""The servers that a user agreed to send volumes to, with their certificates; tokens are in the system's key store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..util.address import Address
from ..util.atomic_write import atomic_path
from ..util.errors import ModelError, UsageError
from ..util.i18n import mark as N_

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from .server import Server

TOKEN_VARIABLE = "DEEPSEG_TOKEN"
_KEY_STORE = "DeepSeg server"

WHAT_LEAVES = N_(
    "The voxels of a volume, their size and place in space, and its modality are sent to {url}, which keeps them for a "
    "while; for corrections and surfaces also the label map, the names of its structures, and the prompts. Names and "
    "headers of files are not sent."
)
"""What a user agrees to, once for each server."""


class KnownServers:
    """The servers that were saved.

    Args:
        path: of the file; by default in the user's data folder.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _default_path()

    def all(self) -> dict[str, str]:
        """URL → fingerprint, which is empty if an authority signed the certificate.

        Raises:
            UsageError: the file is damaged.
        """
        try:
            found = json.loads(self.path.read_text("utf-8"))
            return {Address.of(url).url: str(entry["fingerprint"]) for url, entry in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self.path} is damaged.", "Delete it, and save the servers again.", code="usage.servers"
            ) from error

    def save(self, url: str, fingerprint: str) -> None:
        """Note that the user agreed."""
        self._write({**self.all(), Address.of(url).url: fingerprint})

    def remove(self, url: str) -> None:
        """Forget a server, and its token.

        Raises:
            UsageError: it was not saved.
        """
        servers, url = self.all(), Address.of(url).url
        if servers.pop(url, None) is None:
            raise UsageError(f"{url} is not a saved server.", "Check the address.", code="usage.servers")
        self._write(servers)
        with _opened_key_store() as store:
            if store is not None and store.get_password(_KEY_STORE, url) is not None:
                store.delete_password(_KEY_STORE, url)

    def connect(self, url: str) -> Server:
        """A server that was saved, with the user's token.

        Raises:
            UsageError: it was not saved, or there is no token.
        """
        from .server import Server

        url = Address.of(url).url
        fingerprint = self.all().get(url)
        if fingerprint is None:
            raise UsageError(
                f"{url} is not a saved server, so nothing is sent to it.",
                "Save it first.",
                code="usage.servers",
                action="save_server",
            )
        token = token_of(url)
        if not token:
            raise UsageError(f"There is no token for {url}.", code="usage.token", action="give_token")
        return Server(url, token, fingerprint)

    def _write(self, servers: dict[str, str]) -> None:
        with atomic_path(self.path) as path:
            path.write_text(json.dumps({url: {"fingerprint": pin} for url, pin in servers.items()}, indent=2), "utf-8")


def token_of(url: str) -> str:
    """The user's token for a server: of the environment, or of the key store; empty if there is none.

    The variable holds one token, for any server, or ``URL=TOKEN`` for each of several, with spaces between.

    Raises:
        UsageError: it names something that is no server, or the key store stays locked.
    """
    if told := os.environ.get(TOKEN_VARIABLE, ""):
        named = [entry.rpartition("=") for entry in told.split() if "=" in entry]
        return next((token for name, _, token in named if Address.of(name).url == url), "") if named else told
    with _opened_key_store() as store:
        return (store.get_password(_KEY_STORE, url) if store is not None else None) or ""


def keep_token(url: str, token: str) -> bool:
    """Put a token into the system's key store; False if there is none.

    Raises:
        UsageError: the key store stays locked.
    """
    with _opened_key_store() as store:
        if store is not None:
            store.set_password(_KEY_STORE, Address.of(url).url, token)
        return store is not None


def model_of(server: Server, model: str) -> ModelCard:
    """The card of a model on a server.

    Raises:
        ModelError: the server does not have it.
    """
    cards = {card.id: card for card in server.models()}
    if model not in cards:
        raise ModelError(
            f"The server does not have the model {model}. It has: {', '.join(cards) or 'none'}.",
            "Choose one of them, or ask whoever runs it to install this one.",
            code="model.not_on_server",
        )
    return cards[model]


def _default_path() -> Path:
    import platformdirs

    return platformdirs.user_data_path("DeepSeg", False) / "servers.json"


@contextmanager
def _opened_key_store() -> Iterator[Any]:
    """The system's key store for the ``with`` block; None without one.

    Raises:
        UsageError: the user did not unlock it, or it does not work.
    """
    store = _key_store()
    if store is None:
        yield None
        return
    from keyring.errors import KeyringError

    try:
        yield store
    except KeyringError as error:
        raise UsageError(
            f"The system's key store cannot be used ({str(error) or type(error).__name__}).",
            "Unlock it.",
            code="usage.key_store",
            action="give_token",
        ) from error


def _key_store() -> Any:
    """The system's key store; None without one."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return None
    store = keyring.get_keyring()
    return None if isinstance(store, fail.Keyring | null.Keyring) else store
