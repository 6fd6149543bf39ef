"""Whether packages are there, without importing them."""

from __future__ import annotations

import sys
from importlib.util import find_spec


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
