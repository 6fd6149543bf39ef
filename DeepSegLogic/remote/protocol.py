"""What client and server agree on: the version, how a grid is named and described, and how errors travel."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.types import Affine
from ..util.errors import DeepSegError
from ..worker.error_mapping import from_message, to_message

VERSION = 1
"""Version of the protocol. It is part of every address: ``/v1/jobs``."""

DTYPES = ("int16", "float32", "uint8", "uint16")
"""Types of voxels: the first two of volumes, the others of label maps."""


@dataclass(frozen=True)
class GridHeader:
    """What is sent about a volume or label map beside its voxels. No name, no header of a file.

    Attributes:
        shape: voxels along (K, J, I).
        dtype: one of :data:`DTYPES`, little-endian.
        ijk_to_ras: the 4×4 matrix by rows, RAS in mm.
        sha256: of the voxels' bytes in C order, as ``sha256sum`` prints it.

    Example:
        >>> import numpy as np
        >>> header = GridHeader.of(np.zeros((2, 3, 4), np.int16), np.eye(4))
        >>> header.shape, header.nbytes, len(header.id)
        ((2, 3, 4), 48, 64)
    """

    shape: tuple[int, int, int]
    dtype: str
    ijk_to_ras: tuple[float, ...]
    sha256: str

    @classmethod
    def of(cls, array: npt.NDArray[Any], ijk_to_ras: Affine) -> GridHeader:
        """The header of an array (K, J, I) and its matrix."""
        k, j, i = array.shape
        matrix = tuple(float(x) for x in np.asarray(ijk_to_ras, np.float64).ravel())
        return cls((k, j, i), array.dtype.name, matrix, hashlib.sha256(as_bytes(array)).hexdigest())

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GridHeader:
        """The inverse of :meth:`as_json`."""
        k, j, i = data["shape"]
        return cls((k, j, i), data["dtype"], tuple(data["ijk_to_ras"]), data["sha256"])

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def id(self) -> str:
        """The name of this content on a server: equal for equal voxels on equal grids, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    @property
    def nbytes(self) -> int:
        """Size of the voxels."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def matrix(self) -> Affine:
        """:attr:`ijk_to_ras` as an array, 4×4."""
        return np.array(self.ijk_to_ras, np.float64).reshape(4, 4)


def as_bytes(array: npt.NDArray[Any]) -> memoryview:
    """The voxels as they travel: C order, little-endian."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return plain.reshape(-1).data.cast("B")


def json_from(body: bytes) -> Any:
    """What a server says in JSON; None for an empty body.

    Raises:
        DeepSegError: it is something else.
    """
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise error_from_json(None) from error


def error_to_json(error: BaseException) -> dict[str, Any]:
    """An error as it travels, without its traceback."""
    message = to_message(error)
    return {name: message[name] for name in ("code", "message", "remedy", "action", "details")}


def error_from_json(data: object) -> DeepSegError:
    """The inverse of :func:`error_to_json`; anything else gives an error that says so."""
    if isinstance(data, dict) and isinstance(data.get("message"), str):
        return from_message({**data, "message": data["message"][:2000], "remedy": str(data.get("remedy", ""))[:2000]})
    return not_understood()


def not_understood() -> DeepSegError:
    """The error for an answer that is none of this protocol."""
    return DeepSegError("The server sent an answer that DeepSeg does not understand.", "Check its address.")
