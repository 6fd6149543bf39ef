"""Kept probabilities in a file: NumPy's compressed ``.npz``, read and written without pickle."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..inference.probabilities import TopProbabilities
from .atomic import atomic_path


def write_probabilities(top: TopProbabilities, path: Path | str) -> None:
    """Write ``labels``, ``values``, ``ijk_to_ras`` and ``volume_digest`` as :class:`TopProbabilities` has them.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, labels=top.labels, values=top.values, ijk_to_ras=top.ijk_to_ras, volume_digest=top.volume_digest
        )


def read_probabilities(path: Path | str) -> TopProbabilities:
    """Read what :func:`write_probabilities` wrote; whose volume it is, is for the caller to compare.

    Raises:
        InputError: it is missing, broken, or something else.
    """
    path = Path(path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            top = TopProbabilities(
                file["labels"], file["values"], file["ijk_to_ras"].astype(np.float64), str(file["volume_digest"])
            )
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", "Check the path.", code="input.missing") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise _bad(path) from error
    if not _sound(top):
        raise _bad(path)
    return top


def _sound(top: TopProbabilities) -> bool:
    return (
        top.labels.ndim == 4
        and top.labels.size > 0
        and top.labels.shape == top.values.shape
        and top.labels.dtype in (np.uint8, np.uint16)
        and top.values.dtype == np.uint8
        and top.ijk_to_ras.shape == (4, 4)
        and bool(np.isfinite(top.ijk_to_ras).all())
        and abs(np.linalg.det(top.ijk_to_ras)) > 1e-9
    )


def _bad(path: Path) -> InputError:
    return InputError(
        f"{path} does not hold the probabilities of a run, or is damaged.",
        "Give the probabilities.npz that `deepseg segment --probabilities` wrote.",
        code="input.probabilities",
    )
