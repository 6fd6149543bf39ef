"""Commands that run on a server which `deepseg servers add` saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models import ModelCard
    from ..remote import Server as RemoteServer
    from ..segmentation import Result


def connected(url: str, device: str = "auto") -> RemoteServer:
    """A saved server, with the user's token.

    Raises:
        UsageError: it was not saved, there is no token, or a device is chosen.
    """
    from ..remote.known import KnownServers
    from ..util.errors import UsageError

    if device != "auto":
        raise UsageError("The server chooses its device.", "Leave out --device.", code="usage.device")
    return KnownServers().connect(url)


def segmenting(url: str, model: str, enhance: str, options: dict[str, Any]) -> tuple[ModelCard, Callable[..., Result]]:
    """The model, and what segments with it on a server.

    Raises:
        UsageError: as :func:`connected`; or the CT is to be enhanced first.
        ModelError: the server does not have the model.
    """
    from ..remote.known import model_of
    from ..util.errors import UsageError

    if enhance:
        raise UsageError(
            "A server does not enhance CTs.",
            "Enhance the CT on this computer first, then segment its result there.",
            code="usage.enhance",
        )
    server = connected(url, options.pop("device", "auto"))
    return model_of(server, model), partial(server.segment, model=model)
