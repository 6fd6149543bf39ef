"""The server's own files: for its owner alone, and written completely or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..util.errors import OutputError
from ..util.staging import move


def private_folder(folder: Path) -> Path:
    """The folder, made if needed, which nobody else may enter.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}).", "Choose another folder.") from error
    return folder


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file; its folder exists."""
    write_bytes(path, json.dumps(value).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file that only its owner may read; its folder exists."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    move(temporary, path)
