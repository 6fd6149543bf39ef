"""The region that a model sees, if it was trained on one: around structures that another model finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Crop:
    """The box around structures that another model, the helper, finds in the whole volume.

    Attributes:
        model: id of the helper.
        structures: names of what it must find, one at least.
        margin_mm: added to the box on every side.
    """

    model: str
    structures: tuple[str, ...]
    margin_mm: float = 20.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Crop | None:
        """From the plain values of a card that fits its schema; None for None."""
        if data is None:
            return None
        return cls(data["model"], tuple(data["structures"]), float(data.get("margin_mm", cls.margin_mm)))

    def describe(self) -> str:
        """In words, e.g. ``"liver, found by total_fastest, and 20 mm around"``."""
        return f"{', '.join(self.structures)}, found by {self.model}, and {self.margin_mm:g} mm around"
