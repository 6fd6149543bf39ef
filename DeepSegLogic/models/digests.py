"""Digests of files and models, written ``"<algorithm>:<hex>"``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .card import CARD_FILE


def file_digest(*paths: Path, algorithm: str = "sha256") -> str:
    """``"<algorithm>:<hex>"`` of a file, or of the content of several one after the other."""
    state = hashlib.new(algorithm)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
    return f"{algorithm}:{state.hexdigest()}"


def model_files(folder: Path) -> dict[str, Path]:
    """The files of a model by their path within its folder; its card is left out."""
    files = {f.relative_to(folder).as_posix(): f for f in sorted(folder.rglob("*")) if f.is_file()}
    files.pop(CARD_FILE, None)
    return files


def folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a model."""
    return {name: file_digest(file) for name, file in model_files(folder).items()}


def model_digest(digests: dict[str, str]) -> str:
    """One digest for all files of a model."""
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(digests.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
