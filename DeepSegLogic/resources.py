"""Where the files of ``Resources`` are: one function knows the three ways in which DeepSeg is run."""

from pathlib import Path

from .errors import DeepSegError

_HERE = Path(__file__).resolve().parent


def resource_path(*parts: str) -> Path:
    """Path of a file or folder under ``Resources``, e.g. ``resource_path("Terminology", "structures.csv")``.

    Looked for in a source checkout (beside ``DeepSegLogic``), in a pip install (inside it), and where a
    built Slicer extension puts it (``qt-scripted-modules/Resources``, beside the installed module).

    Raises:
        DeepSegError: the installation lacks it.
    """
    for root in (_HERE.parent / "Resources", _HERE / "Resources"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise DeepSegError(
        f"The installation lacks the file Resources/{'/'.join(parts)}.",
        "Install DeepSeg again.",
        code="internal.resources",
    )
