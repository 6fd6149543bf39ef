"""Names that a package offers without importing the modules that hold them, until they are used (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def imported_on_use(package: str, home_of: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``: ``home_of`` says in which of its modules each name lies."""

    def attribute(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{home_of[name]}", package), name)

    return attribute
