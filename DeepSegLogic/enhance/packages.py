"""The packages that this room needs beside those of DeepSeg."""

from __future__ import annotations

from ..util.errors import ResourceError
from ..util.packages import can_import
from ..util.version import how_to_install

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
        raise ResourceError(
            f"To enhance images, packages are needed that are not installed: {', '.join(missing)}.",
            "Install them.",
            code="resource.package",
            action="install_extra",
            extra="enhance",
            how=how_to_install("enhance"),
        )
