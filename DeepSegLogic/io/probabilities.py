"""Files of kept probabilities: NumPy's compressed ``.npz``, read and written without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..data.probabilities import TopProbabilities
from ..util.atomic_write import atomic_path
from ..util.errors import DeepSegError, InputError
from .files import as_path, must_fit, opened


def write_probabilities(top: TopProbabilities, path: Path | str) -> None:
    """Write ``labels``, ``values``, ``ijk_to_ras`` and ``volume_digest`` of :class:`TopProbabilities`.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, labels=top.labels, values=top.values, ijk_to_ras=top.ijk_to_ras, volume_digest=top.volume_digest
        )


def read_probabilities(path: Path | str) -> TopProbabilities:
    """Read a file of :func:`write_probabilities`. The caller must compare its ``volume_digest`` with the volume.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
        ResourceError: not enough memory.
    """
    path = as_path(path)
    try:
        with opened(path) as source:
            with zipfile.ZipFile(source) as archive:
                must_fit(path, sum(member.file_size for member in archive.infolist()))
            source.seek(0)
            with np.load(source, allow_pickle=False) as file:
                top = TopProbabilities(
                    file["labels"], file["values"], file["ijk_to_ras"].astype(np.float64), str(file["volume_digest"])
                )
    except DeepSegError:
        raise
    except Exception as error:  # numpy and zipfile raise whatever their parsers meet
        raise _bad(path) from error
    if not top.sound:
        raise _bad(path)
    return top


def _bad(path: Path) -> InputError:
    return InputError(
        f"{path} is not a file of kept probabilities, or is damaged.",
        "Choose a probabilities.npz that DeepSeg wrote.",
        code="input.probabilities",
        action="keep_probabilities",
    )
