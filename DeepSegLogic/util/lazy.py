"""Lazy imports: a package offers names whose modules are imported on first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any


def imported_on_use(package: str, home_of: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: its name.
        home_of: by name, the module of the package that defines it.
    """

    def attribute(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{home_of[name]}", package), name)

    return attribute


def imported_as_stubbed(package: str, file: str) -> tuple[Callable[[str], Any], list[str]]:
    """A package's ``__getattr__`` and ``__all__``: what its stub, ``__init__.pyi``, imports from its modules.

    Args:
        package, file: its ``__name__`` and ``__file__``.
    """
    import ast

    stub = ast.parse(Path(file).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    home_of = {alias.name: "." * (node.level - 1) + str(node.module) for node in imports for alias in node.names}
    return imported_on_use(package, home_of), list(home_of)


def import_ahead(*modules: str) -> None:
    """Begin to import what is needed soon, in a thread, while this one waits for something else."""
    from threading import Thread

    def work() -> None:
        for module in modules:
            with suppress(Exception):  # where it is needed, it is imported again, and that fails again
                import_module(module)

    Thread(target=work, name="deepseg-import").start()
