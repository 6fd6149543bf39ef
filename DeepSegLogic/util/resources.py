"""Where the files of ``Resources`` are, however DeepSeg was installed."""

from pathlib import Path

from .errors import DeepSegError

_HERE = Path(__file__).resolve().parent.parent


def resource_path(*parts: str) -> Path:
    """Path of a file or folder under ``Resources``, e.g. ``resource_path("Terminology", "structures.csv")``.

    ``Resources`` lies beside ``DeepSegLogic`` in a checkout and in a built Slicer extension
    (``qt-scripted-modules/Resources``), and inside it in a pip install.

    Raises:
        DeepSegError: it is missing from the installation.
    """
    for root in (_HERE.parent / "Resources", _HERE / "Resources"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise DeepSegError(
        f"The file Resources/{'/'.join(parts)} is missing from the installation.",
        "Install DeepSeg again.",
        code="internal.resources",
    )
