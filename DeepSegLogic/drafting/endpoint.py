"""The language model that drafts reports: where it is, kept in a file of the user. Without that file, none is asked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..util.address import Address
from ..util.atomic_write import atomic_path
from ..util.errors import UsageError
from ..util.hosts import is_loopback

INTENDED_MODEL = "medgemma"
TOKEN_VARIABLE = "DEEPSEG_DRAFT_TOKEN"
WHAT_LEAVES = (
    "Titles, volumes, densities, changes, planned distances and findings of the result are sent to {host}{pictures}. "
    "Names, dates and file names are not sent."
)


@dataclass(frozen=True)
class Endpoint:
    """A server with the chat interface of OpenAI, as Ollama, llama.cpp and vLLM have it.

    Args:
        url: such as ``http://127.0.0.1:11434/v1`` (Ollama) or ``http://127.0.0.1:8080/v1`` (llama.cpp).
        model: its name on that server.
        other_host: whether it may be another computer; the address must then begin with ``https``.
        pictures: whether the model sees pictures, and gets the key slices.

    Raises:
        UsageError: the address cannot be used, or is of another computer and ``other_host`` is not set.

    Example:
        >>> from DeepSegLogic import Endpoint
        >>> Endpoint("http://127.0.0.1:11434").url
        'http://127.0.0.1:11434/v1'
    """

    url: str
    model: str = INTENDED_MODEL
    other_host: bool = False
    pictures: bool = False

    def __post_init__(self) -> None:
        path = urlsplit(self.url).path.rstrip("/") if re.match(r"https?://[^/\\@?#\s]+(/[\w./-]*)?$", self.url) else "?"
        if path == "?" or ".." in path:
            raise UsageError(
                f"{self.url} is not the address of a language model.",
                "Give one such as http://127.0.0.1:11434/v1.",
                code="usage.url",
            )
        address = Address.of(self.url.removesuffix("/").removesuffix(path))
        object.__setattr__(self, "url", address.url + (path or "/v1"))
        if not is_loopback(address.host) and not self.other_host:
            raise UsageError(
                f"{self.host} is another computer, so nothing is sent to it.",
                "Allow it first, if your institution does.",
                code="usage.other_host",
                action="allow_other_host",
            )
        if not re.fullmatch(r"[\w./:@+-]{1,200}", self.model):
            raise UsageError(f"{self.model!r} is not the name of a model.", "Correct it.", code="usage.draft_model")

    @property
    def host(self) -> str:
        """The host of the address."""
        return urlsplit(self.url).hostname or ""

    @property
    def warning(self) -> str:
        """What leaves this computer; empty if nothing does."""
        if is_loopback(self.host):
            return ""
        return WHAT_LEAVES.format(host=self.host, pictures=", with pictures of slices" if self.pictures else "")

    @property
    def token(self) -> str:
        """For servers that want one: of the environment variable ``DEEPSEG_DRAFT_TOKEN``."""
        return os.environ.get(TOKEN_VARIABLE, "")


def configured() -> Endpoint | None:
    """The endpoint that the user set up; None without one.

    Raises:
        UsageError: the file is damaged.
    """
    path = _path()
    try:
        content = json.loads(path.read_bytes()[: 1 << 16])
        return Endpoint(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{path} is damaged.", "Delete it, and set up the language model again.", code="usage.drafting"
        ) from error


def configure(endpoint: Endpoint | None) -> None:
    """Keep an endpoint for this user; None for no drafts any more.

    Raises:
        OutputError: the file cannot be written.
    """
    path = _path()
    if endpoint is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(endpoint), indent=2) + "\n", "utf-8")


def the_endpoint() -> Endpoint:
    """The endpoint that the user set up.

    Raises:
        UsageError: there is none, or its file is damaged.
    """
    endpoint = configured()
    if endpoint is None:
        raise UsageError(
            "No language model is set up, so no report is drafted.",
            "Start one on this computer, and set up its address.",
            code="usage.drafting",
            action="set_up_drafting",
        )
    return endpoint


def _path() -> Path:
    import platformdirs

    return platformdirs.user_data_path("DeepSeg", False) / "drafting.json"
