"""A check of what public functions are given: a path where a volume is wanted is a usual slip in Python."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from os import PathLike
from typing import ParamSpec, TypeVar

from .errors import UsageError

_READERS = {
    "Volume": "read_volume",
    "LabelMap": "read_label_map",
    "TimePoint": "read_time_point",
    "Plan": "read_plan",
}
"""What reads a file, by the class of its content."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def not_paths(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function that refuses paths where it takes what is read from files: volumes, label maps and the like.

    The annotations of its parameters tell; ``Path`` among them allows paths.

    Raises:
        UsageError: of the function, for a path.

    Example:
        >>> from DeepSegLogic import make_surfaces
        >>> make_surfaces("organs.seg.nrrd")
        Traceback (most recent call last):
        DeepSegLogic.util.errors.UsageError: 'organs.seg.nrrd' is a path, but make_surfaces takes a LabelMap. Give \
read_label_map('organs.seg.nrrd').
    """
    wanted = {name: kind for name, told in function.__annotations__.items() if (kind := _kind(str(told)))}
    names = list(inspect.signature(function).parameters)
    taker = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in wanted:
                for one in value.values() if isinstance(value, Mapping) else [value]:
                    _check(one, wanted[name], taker)
        return function(*args, **kwargs)

    return checked


def _kind(annotation: str) -> str:
    """The class of a parameter that is read from a file; empty for others, and for those that may be paths."""
    found = re.findall(r"\w+", annotation)
    return next((kind for kind in _READERS if kind in found and not {"Path", "Callable"} & {*found}), "")


def _check(value: object, kind: str, taker: str) -> None:
    if isinstance(value, str | PathLike):
        path = repr(str(value))
        raise UsageError(
            f"{path} is a path, but {taker} takes a {kind}.", f"Give {_READERS[kind]}({path}).", code="usage.path"
        )
