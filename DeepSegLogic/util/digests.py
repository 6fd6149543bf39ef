"""Digests of files and texts, written ``"<algorithm>:<hex>"``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SHA256 = re.compile("sha256:[0-9a-f]{64}")
"""What these digests look like."""

_BLOCK = 1 << 20


def file_digest(*paths: Path, algorithm: str = "sha256") -> str:
    """Digest of a file, or of the contents of several joined in order.

    Raises:
        OSError: a file cannot be read.
    """
    state = hashlib.new(algorithm)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                state.update(block)
    return f"{algorithm}:{state.hexdigest()}"


def text_digest(text: str) -> str:
    """Digest of a text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def certificate_digest(certificate: bytes) -> str:
    """The SHA-256 of a certificate (DER), as browsers and openssl show it: ``"A1:B2:…"``."""
    return hashlib.sha256(certificate).digest().hex(":").upper()
