"""The weights that TotalSegmentator has on this machine: they are copied instead of downloaded again."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from .card import ModelCard, Part


def results_folder() -> Path:
    """Where TotalSegmentator keeps its weights, by its own rules; it need not exist."""
    if weights := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(weights).expanduser()
    home = os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator"
    return Path(home).expanduser() / "nnunet" / "results"


def data_set(part: Part) -> str:
    """The name of the data set that a part was trained on, which is that of its zip file; empty without one."""
    return PurePosixPath(urlsplit(part.url).path).stem


def folder_of(part: Part) -> Path | None:
    """TotalSegmentator's folder of a part; None if it is not there."""
    folder = results_folder() / data_set(part)
    return folder if part.url and next(folder.glob("*/plans.json"), None) is not None else None


def is_here(card: ModelCard) -> bool:
    """Whether TotalSegmentator has all that a model of the catalogue needs."""
    return bool(card.parts) and all(folder_of(part) is not None for part in card.parts)
