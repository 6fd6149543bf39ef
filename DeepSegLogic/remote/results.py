"""Results of a server, checked before they are used: the server may be hostile, or somebody else's."""

from __future__ import annotations

import gzip
import io
import tempfile
import zlib
from typing import IO, Any, cast

import numpy as np

from ..data.boxes import whole
from ..data.label_map import LabelMap
from ..data.probabilities import TopProbabilities
from ..data.run_record import PHASES
from ..refinement.solver import Refinement, summarize
from ..segmentation import Result
from ..surfaces import SurfaceSet
from ..util.errors import DeepSegError
from ..worker.channel import Channel
from .connection import Connection, bounded


def fetch(connection: Connection, job: str, most: int) -> Any:
    """The result of a job.

    Args:
        most: bytes of arrays that it can have.

    Raises:
        DeepSegError: it is larger, is no result, or the connection is lost.
    """
    with (
        tempfile.TemporaryFile() as file,
        connection.opened("GET", f"/jobs/{job}/result") as response,
    ):
        for piece in bounded(response, most):
            file.write(piece)
        file.seek(0)
        return _unpack(file, most)


def _unpack(file: IO[bytes], most: int) -> Any:
    channel = Channel(array_limit=most)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            channel.connect(io.BufferedReader(cast("io.RawIOBase", unpacked)), io.BytesIO())
            message = channel.receive()
    except (OSError, EOFError, zlib.error) as error:
        raise not_a_result() from error
    if message is None:
        raise not_a_result()
    return message.get("value")


def checked_result(value: object, shape: tuple[int, ...], ijk_to_ras: Any) -> Result:
    """The result of a segmentation, if it is one of a volume of this shape (K, J, I); its grid is the volume's."""
    if not isinstance(value, Result):
        raise not_a_result()
    value.label_map = checked_labels(value.label_map, shape, ijk_to_ras)
    texts = all(isinstance(t, list) and all(isinstance(x, str) for x in t) for t in (value.warnings, value.cut))
    tables = all(isinstance(t, dict) for t in (value.timings, value.provenance, value.plan))
    numbers = all(_are_numbers(t) for t in (value.confidence, value.boundary_margin))
    unsure = value.uncertainty is None or _is_array(value.uncertainty, ("uint8",), shape)
    top = value.probabilities
    kept = top is None or (isinstance(top, TopProbabilities) and top.sound)
    known = value.phase in PHASES and value.enhanced is None  # a server enhances nothing
    if not (texts and tables and numbers and unsure and kept and known):
        raise not_a_result()
    return value


def checked_labels(value: object, shape: tuple[int, ...], ijk_to_ras: Any) -> LabelMap:
    """A label map, if it is one of a volume of this shape (K, J, I); its grid is the volume's."""
    if not isinstance(value, LabelMap) or not _is_array(value.array, ("uint8", "uint16"), shape):
        raise not_a_result()
    known = isinstance(value.structures, list) and all(type(s.value) is int for s in value.structures)
    if not known or not all(isinstance(t, str) for s in value.structures for t in (s.name, s.title)):
        raise not_a_result()
    value.ijk_to_ras = np.array(ijk_to_ras, np.float64)
    if not isinstance(value.layers, list):
        raise not_a_result()
    value.layers = [checked_labels(layer, shape, ijk_to_ras) for layer in value.layers]
    return value


def checked_refinement(value: object, before: LabelMap, prompts: int) -> Refinement:
    """A correction of a label map by so many prompts, if it is one. What it changed is found here."""
    told = value if isinstance(value, dict) else {}
    skipped, notes = told.get("skipped"), told.get("notes")
    if not isinstance(skipped, dict) or not isinstance(notes, list):
        raise not_a_result()
    known = all(number in map(str, range(1, prompts + 1)) for number in skipped)
    if not known or not all(isinstance(text, str) for text in (*skipped.values(), *notes)):
        raise not_a_result()
    after = checked_labels(told.get("label_map"), before.array.shape, before.ijk_to_ras)
    if len(after.layers) < len(before.layers):
        raise not_a_result()
    done = Refinement(after, None, {}, skipped={int(n): why for n, why in skipped.items()}, notes=notes)
    summarize(before, done, whole(before.array.shape))
    return done


def checked_surfaces(value: object) -> SurfaceSet:
    """Surfaces, if they are: points (n, 3) and triangles that name these."""
    if not isinstance(value, SurfaceSet):
        raise not_a_result()
    for surface in value:
        points, triangles = np.asarray(surface.points), np.asarray(surface.triangles)
        flat = points.ndim == triangles.ndim == 2 and points.shape[1] == triangles.shape[1] == 3
        if not flat or points.dtype.kind != "f" or triangles.dtype.kind not in "iu":
            raise not_a_result()
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(points):
            raise not_a_result()
    return value


def not_a_result() -> DeepSegError:
    """The error for an answer that is not the result of the job."""
    return DeepSegError(
        "The server sent something else than the result.", "Run again; if it happens again, update both sides."
    )


def _is_array(value: object, kinds: tuple[str, ...], shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.name in kinds and value.shape == tuple(shape)


def _are_numbers(table: object) -> bool:
    return isinstance(table, dict) and all(isinstance(n, int | float) for n in table.values())
