"""What a publisher does with a network's labels before they are the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Postprocess:
    """A named change of the labels; :mod:`DeepSegLogic.inference.postprocess` says what each does.

    Attributes:
        name: ``"body"``, ``"vertebrae"`` or ``"vertebrae_refined"``.
        model: id of another model whose labels it needs; None for none.
    """

    name: str
    model: str | None = None

    @property
    def makes(self) -> tuple[str, ...]:
        """Names of structures that no network marks, and that are made where they are asked for by name."""
        return ("skin",) if self.name == "body" else ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Postprocess | None:
        """From the plain values of a card that fits its schema; None for None."""
        return None if data is None else cls(data["name"], data.get("model"))
