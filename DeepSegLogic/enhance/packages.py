"""The packages that this room needs beside those of DeepSeg."""

from __future__ import annotations

from ..util.errors import ResourceError
from ..util.packages import can_import, lacks_extra

_NEEDED = {"monai": "MONAI", "skimage": "scikit-image"}


def missing_packages() -> list[str]:
    """Names of those that are not installed."""
    return [name for package, name in _NEEDED.items() if not can_import(package)]


def need_packages() -> None:
    """Check that they are there.

    Raises:
        ResourceError: one is not.
    """
    if missing := missing_packages():
        raise lacks_extra(
            ResourceError,
            f"To enhance images, packages are needed that are not installed: {', '.join(missing)}.",
            "enhance",
            code="resource.package",
            remedy="Install them.",
        )
