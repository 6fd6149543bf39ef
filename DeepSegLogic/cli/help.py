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


def all_parameters(command: Any) -> Iterator[Any]:
    """The options and arguments of the command and of those below it, also ``--help``."""
    for _, one in all_commands(command):
        yield from one.params
        yield one.get_help_option(typer.Context(one, help_option_names=["-h", "--help"]))


def without_types(command: Any) -> Any:
    """The command, whose help shows no types of flags and arguments, which are Typer's ``<bool>`` and ``<path>``."""
    for parameter in all_parameters(command):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # the name is the metavar
    return command
