"""A check of what public functions are given, for the usual slips in Python: a path or a bare array where a volume is
wanted, arguments in another order, one name where a list is wanted."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from os import PathLike
from typing import ParamSpec, TypeVar

from .errors import UsageError
from .words import check_list

_READERS = {
    "Volume": "read_volume",
    "LabelMap": "read_label_map",
    "TimePoint": "read_time_point",
    "Plan": "read_plan",
}
"""What reads a file, by the class of its content."""
_OURS = __name__.partition(".")[0]
_MAKERS = {"Volume": "Volume(array, ijk_to_ras)", "LabelMap": "LabelMap(array, ijk_to_ras, structures)"}
_OTHERS = {"numpy", "torch", "monai", "SimpleITK", "itk", "nibabel", "vtkmodules"}
"""Packages whose images and arrays are none of ours; they hold no place in space, or tell it in another way."""

_LIST = re.compile(r"(list|Sequence|Collection|Iterable)\[(str|Prompt|Cut)\]( \| None)?$")
"""Annotations of names, prompts and cuts."""
_PROMPTS = 'Give Point("liver", True, (r, a, s)), Scribble, Box or Lasso, or read_prompts(file).prompts.'

_P = ParamSpec("_P")
_T = TypeVar("_T")


def checks_arguments(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function that refuses paths, bare arrays and images of other packages where it takes volumes, label maps and
    the like, None and other plain values there, a text where it takes a list of names, a single item where it takes
    several, and what are no prompts among prompts.

    The annotations of its parameters tell; ``Path`` among them allows paths.

    Raises:
        UsageError: of the function, for such a value.

    Example:
        >>> from DeepSegLogic import make_surfaces
        >>> make_surfaces("organs.seg.nrrd")
        Traceback (most recent call last):
        DeepSegLogic.util.errors.UsageError: 'organs.seg.nrrd' is a path, but make_surfaces takes a LabelMap. Give \
read_label_map('organs.seg.nrrd').
    """
    told = {name: str(annotation) for name, annotation in function.__annotations__.items()}
    wanted = {name: kinds for name, annotation in told.items() if (kinds := _kinds(annotation))}
    lists = {name: found[2] for name, annotation in told.items() if (found := _LIST.match(annotation))}
    alone = {name for name in wanted if {*re.findall(r"\w+", told[name])} <= {*_READERS, "None"}}
    names = list(inspect.signature(function).parameters)
    taker = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if value is None and "None" in told.get(name, "None"):
                continue
            if name in alone and type(value).__module__ == "builtins" and not isinstance(value, str):
                raise _unlike(value, wanted[name][0], name, taker)
            if name in wanted:
                for one in value.values() if isinstance(value, Mapping) else [value]:
                    _check(one, wanted[name], name, taker)
            elif name in lists:
                _check_several(value, name, taker, lists[name])
        return function(*args, **kwargs)

    return checked


def _kinds(annotation: str) -> list[str]:
    """The classes of a parameter that are read from files; none for others, and for those that may be paths."""
    found = {*re.findall(r"\w+", annotation)}
    return [] if {"Path", "Callable"} & found else [kind for kind in _READERS if kind in found]


def _check(value: object, kinds: list[str], name: str, taker: str) -> None:
    kind = kinds[0]
    if isinstance(value, str | PathLike):
        path = repr(str(value))
        raise UsageError(
            f"{path} is a path, but {taker} takes a {kind}.", f"Give {_READERS[kind]}({path}).", code="usage.path"
        )
    given, package = type(value).__name__, type(value).__module__.partition(".")[0]
    if package in _OTHERS:
        maker = f"Give {_MAKERS[kind]}, or write" if kind in _MAKERS else "Write"
        raise UsageError(
            f"The {name} of {taker} is a {kind}, not {package}'s {given}.",
            f"{maker} it to a file and give {_READERS[kind]}(file).",
            code="usage.type",
        )
    if package == _OURS and not {base.__name__ for base in type(value).__mro__} & {*kinds}:
        part = next((part for part, held in vars(value).items() if type(held).__name__ in kinds), "")
        remedy = f"Give its {part}." if part else "Check what each argument is, and their order."
        raise UsageError(f"The {name} of {taker} is a {kind}, not a {given}.", remedy, code="usage.type")


def _unlike(value: object, kind: str, name: str, taker: str) -> UsageError:
    given = "None" if value is None else type(value).__name__
    return UsageError(
        f"The {name} of {taker} is a {kind}, not {given}.", f"Give {_READERS[kind]}(file).", code="usage.type"
    )


def _check_several(value: object, name: str, taker: str, kind: str) -> None:
    check_list(value)
    if value is None:
        raise UsageError(f"The {name} of {taker} are a list, not None.", "Give […].", code="usage.type")
    if not isinstance(value, Iterable):
        raise UsageError(
            f"The {name} of {taker} are a list, not a single {type(value).__name__}.",
            "Put it between brackets: […].",
            code="usage.type",
        )
    if kind != "Prompt":
        return
    for one in [value] if isinstance(value, Mapping) else value if isinstance(value, Collection) else ():
        if "Prompt" not in {base.__name__ for base in type(one).__mro__}:
            raise UsageError(
                f"The {name} of {taker} are prompts, but a {type(one).__name__} is among them.",
                _PROMPTS,
                code="usage.type",
            )
