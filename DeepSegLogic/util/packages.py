"""Whether packages are there, without importing them; and the error if they are not."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TypeVar

from .errors import DeepSegError
from .version import how_to_install

_Error = TypeVar("_Error", bound=DeepSegError)


def can_import(name: str) -> bool:
    """Whether a top-level package can be imported.

    A folder without an ``__init__.py``, as an uninstalled or interrupted package leaves it, does not count: Python
    takes it for a namespace.

    Example:
        >>> can_import("json"), can_import("no_such_package")
        (True, False)
    """
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) is not None
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def lacks_extra(kind: type[_Error], message: str, extra: str, *, code: str, remedy: str = "Install it.") -> _Error:
    """The error for packages that are not installed, and that an extra of ``pyproject.toml`` brings."""
    return kind(message, remedy, code=code, action="install_extra", extra=extra, how=how_to_install(extra))
