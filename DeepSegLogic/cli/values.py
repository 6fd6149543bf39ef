"""Values of options, taken as they are where that is enough.

Typer converts each value by pydantic, whose import and schemas take up to a third of a short command's time. But most
values are defaults, texts and paths.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .help import all_parameters


def taken_simply(command: Any) -> Any:
    """The command, which leaves to Typer only the values that are checked, or converted to another type."""
    for parameter in all_parameters(command):
        if hasattr(parameter, "get_runtime_param") and hasattr(parameter, "type_descriptor"):  # a Typer with pydantic
            parameter.get_runtime_param = _Conversion(parameter)
    return command


def _is_locked(path: Path) -> bool:
    """Whether a file or folder is there and cannot be read, which Typer tells."""
    return os.access(path, os.F_OK) and not os.access(path, os.R_OK)


class _Conversion:
    """What converts the value of a parameter, in place of what Typer makes for it.

    Neither is public, so another Typer may ask for something else, which is handed on.
    """

    def __init__(self, parameter: Any) -> None:
        self._parameter, self._of_typer = parameter, parameter.get_runtime_param

    def __call__(self, *args: Any, **options: Any) -> _Conversion:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_typer(), name)

    def coerce(self, value: Any, *args: Any, **options: Any) -> Any:
        """The converted value; as Typer's method of this name."""
        parameter = self._parameter
        kind, checks = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
        if value is None:
            return () if parameter.multiple or parameter.nargs == -1 else None
        typed = isinstance(value, str) and kind in (str, Path)
        plain = type(kind) is type  # unlike list[str], which Python 3.10 takes for an instance of type
        known = plain and isinstance(value, kind) and value == parameter.default
        if (typed or known) and not (kind is Path and checks.readable and _is_locked(Path(value))):
            return kind(value)
        return self._of_typer().coerce(value, *args, **options)
