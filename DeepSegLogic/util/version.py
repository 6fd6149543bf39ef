"""The version of DeepSeg that runs, and how to add its optional packages."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

DISTRIBUTION = "slicer-deepseg"  # `deepseg` on PyPI is a word segmenter by somebody else
_CHECKOUT = Path(__file__).resolve().parents[2]
_IN_SLICER = {  # extras of use there; without what Slicer ships
    "monai": "monai pyyaml",
    "checks": "libigl",
    "detection": "monai pyyaml torchvision",
    "evaluation": "monai scikit-image lazy-loader",
    "enhance": "monai scikit-image lazy-loader",
    "dicom": "highdicom pyjpegls",
}

__version__: str
"""Looked up on first use, since that takes as long as all else of a small import."""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _version()


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree or inside Slicer, without pip
        return "0.1.0"


def how_to_install(extra: str) -> str:
    """How to install the packages of an extra of ``pyproject.toml``, such as ``"monai"``, as one sentence.

    The sentence fits how DeepSeg runs: inside 3D Slicer, from a checkout, or installed by pip. It does not need
    DeepSeg to be on a package index.
    """
    if "SLICER_HOME" in os.environ and extra in _IN_SLICER:  # Slicer sets it for itself and for its Python
        packages = _IN_SLICER[extra]
        return f'In the Python console of 3D Slicer, run: slicer.util.pip_install("--no-deps {packages}")'
    if (_CHECKOUT / "pyproject.toml").is_file():
        return f'In {_CHECKOUT}, run: pip install -e ".[{extra}]"'
    return f"Run: pip install {' '.join(_requirements(extra)) or DISTRIBUTION}"


def _requirements(extra: str) -> list[str]:
    """The packages of an extra, quoted for a shell, as the installed metadata lists them."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        listed = [line.partition(";") for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return []
    return [
        f'"{package.strip()}"' for package, _, marker in listed if f"extra == '{extra}'" in marker.replace('"', "'")
    ]
