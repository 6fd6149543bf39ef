"""Numbers of the view model in words."""

from __future__ import annotations

from typing import Any

from .models import ModelEntry
from .run import Phase, Run


def size_text(number: int | None) -> str:
    """Bytes for people; ``"?"`` where unknown."""
    if number is None:
        return "?"
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if unit == "GB" else f"{number / size:.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


def time_text(seconds: float) -> str:
    """e.g. ``"40 s"``, ``"2 min"``."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def estimate_text(estimate: dict[str, Any] | None) -> str:
    """What a run will take; empty while unknown."""
    if not estimate:
        return ""
    memory = f"{size_text(estimate['ram_bytes'])} of memory"
    if estimate["device_bytes"]:
        memory += f", {size_text(estimate['device_bytes'])} on the GPU"
    return f"About {time_text(estimate['seconds'])} on {estimate['device']}, {memory}"


def install_question(entry: ModelEntry) -> str:
    """What to know before a model is downloaded, in lines."""
    card = entry.card
    return (
        f"{card.title} will be downloaded from {card.source}.\nSize: {size_text(entry.size_bytes)}\n"
        f"Licence: {card.licence}\n{card.intended_use}"
    )


def remove_question(entry: ModelEntry) -> str:
    """What to know before a model is removed."""
    return f"Delete {entry.card.title} ({size_text(entry.size_bytes)}) from this machine?"


def run_text(run: Run) -> str:
    """Where the long task is, in one line."""
    if run.phase is Phase.RUNNING:
        left = f", about {time_text(run.remaining_s)} left" if run.remaining_s is not None else ""
        if run.frame is None:
            return f"{run.stage}{left}"
        return f"Frame {run.frame[0]} of {run.frame[1]}: {run.stage}{left and left + ' for this frame'}"
    if run.phase is Phase.FAILED:
        return str(run.error)
    return {Phase.CANCELLING: "Cancelling", Phase.CANCELLED: "Cancelled.", Phase.DONE: run.summary}.get(run.phase, "")
