"""The help of the commands: metavars, not Python's types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer


def all_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command and those below it, each with its path, such as ``("models", "list")``."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from all_commands(below, (*path, name))


def without_types(command: Any) -> Any:
    """The command, whose help shows no types of flags and arguments, which are Typer's ``<bool>`` and ``<path>``."""
    for _, one in all_commands(command):
        for parameter in (*one.params, one.get_help_option(typer.Context(one, help_option_names=["-h", "--help"]))):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: None  # the name is the metavar
    return command
