"""Limits of a server, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..util.errors import DeepSegError


def default_folder() -> Path:
    """Where a server keeps tokens, certificate, volumes and jobs unless told otherwise."""
    return Path(platformdirs.user_data_dir("DeepSeg", appauthor=False)) / "server"


@dataclass(frozen=True)
class Settings:
    """How a server works.

    Attributes:
        folder: of tokens, certificate, volumes and jobs; for its owner alone.
        devices: one worker process each, such as ``("cuda:0", "cuda:1")``.
        keep_s: seconds after which volumes that nobody uses and jobs that ended are deleted.
        quota: bytes of volumes that each user may keep.
        largest: bytes of the largest volume.
        reserve: bytes of the disk that uploads leave free.
        open_jobs: jobs that a user may have waiting or running.
        rate: requests per second of each user, on average.
        burst: requests that may come at once.
        connections: connections at the same time.
        patience_s: seconds that a client may take to begin a request, or between two parts of one.
        handlers: the module that the worker processes serve.
    """

    folder: Path
    devices: tuple[str, ...] = ("cpu",)
    keep_s: float = 24 * 3600.0
    quota: int = 20 << 30
    largest: int = 4 << 30
    reserve: int = 1 << 30
    open_jobs: int = 50
    rate: float = 20.0
    burst: int = 200
    connections: int = 200
    patience_s: float = 20.0
    handlers: str = "DeepSegLogic.service.handlers"


class ServiceError(DeepSegError):
    """A request that the server refuses, with the status of the answer.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy, code=code)
        self.status = status
