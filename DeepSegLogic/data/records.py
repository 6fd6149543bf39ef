"""What dataclasses that hold arrays have in common: equality by content, a short repr, and a grid in space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..util.errors import UsageError
from . import affine
from .types import Affine, FloatArray, Shape

_SHOWN_ITEMS = 4


class ArrayRecord:
    """Base of dataclasses (``eq=False, repr=False``) that hold arrays.

    Two are equal if they are of the same class and all their fields are, but those with ``compare=False``; arrays are
    compared by content, NaN equal to NaN. They can be changed, hence not hashed. The repr shows the shapes of arrays,
    never their content.
    """

    __hash__ = None  # type: ignore[assignment]  # how Python says that a class has no hash

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or all(_same(a, b) for (_, a), (_, b) in zip(_items(self), _items(other), strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in self._shown())})"

    def _shown(self) -> Iterator[tuple[str, object]]:
        """Name and value of what the repr shows."""
        yield from _items(self)


class GridRecord(ArrayRecord):
    """An array of voxels with its place in space.

    Attributes:
        array: (K, J, I), slowest axis first.
        ijk_to_ras: 4×4 float64, maps (I, J, K, 1) to RAS in mm. Oblique, anisotropic and left-handed grids are
            ordinary.
    """

    array: npt.NDArray[Any]
    ijk_to_ras: Affine
    _number_kinds: ClassVar[str] = "biuf"  # of the voxels, as in numpy's ``dtype.kind``

    def __post_init__(self) -> None:
        """Check what scripts give.

        Raises:
            UsageError: no numbers with three axes, or no 4×4 matrix.
        """
        name = type(self).__name__
        _check_array(self.array, name)
        if self.array.dtype.kind not in self._number_kinds:
            raise self._unfit_numbers()
        self.ijk_to_ras = _matrix(self.ijk_to_ras, name)

    def _unfit_numbers(self) -> UsageError:
        return UsageError(
            f"The voxels of a {type(self).__name__} are numbers, not {self.array.dtype}.",
            "Give int16 or float32.",
            code="usage.array",
        )

    @property
    def shape_kji(self) -> Shape:
        """Voxels along (K, J, I), as in ``array.shape``."""
        k, j, i = self.array.shape
        return k, j, i

    @property
    def shape_ijk(self) -> Shape:
        """Voxels along (I, J, K), as ITK and 3D Slicer give them."""
        k, j, i = self.array.shape
        return i, j, k

    @property
    def spacing_ijk(self) -> FloatArray:
        """Voxel size in mm along (I, J, K), as ITK and 3D Slicer give it."""
        return affine.spacing_ijk(self.ijk_to_ras)

    @property
    def spacing_kji(self) -> FloatArray:
        """Voxel size in mm along (K, J, I), the axes of ``array``."""
        return affine.spacing_kji(self.ijk_to_ras)

    @property
    def orientation(self) -> str:
        """Where I, J and K point, e.g. ``"LPS"``."""
        return affine.orientation_of(self.ijk_to_ras)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def _shown(self) -> Iterator[tuple[str, object]]:
        yield "dtype", self.array.dtype.name
        yield "shape_kji", self.array.shape
        yield "spacing_ijk", tuple(round(float(s), 4) for s in self.spacing_ijk)
        yield "orientation", self.orientation


def on_same_grid(one: GridRecord, other: GridRecord, tolerance_mm: float = 1e-3) -> bool:
    """Whether two records have the same voxels in space, to within a tolerance of their matrices."""
    return one.shape_kji == other.shape_kji and affine.same_grid(one.ijk_to_ras, other.ijk_to_ras, tolerance_mm)


def _check_array(array: object, name: str) -> None:
    if not isinstance(array, np.ndarray):
        raise UsageError(
            f"The array of a {name} is a numpy array, not {type(array).__name__}.",
            "Convert it, such as by numpy.asarray(…) or SimpleITK.GetArrayFromImage(…).",
            code="usage.array",
        )
    if array.ndim != 3:
        raise UsageError(
            f"The array of a {name} has three axes, (K, J, I), but this one has {array.ndim}: "
            f"{'×'.join(map(str, array.shape))}.",
            "Take one image of a sequence, remove an axis of channels, or give a slice an axis: array[None].",
            code="usage.array",
        )


def _matrix(given: object, name: str) -> Affine:
    """The 4×4 matrix as float64; the very same array if it is one."""
    try:
        matrix = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape == (4, 4):
        return matrix
    if matrix.shape == (3,):
        spacing = ", ".join(f"{size:g}" for size in matrix)
        remedy = f"For voxels of this size along (I, J, K), not rotated, give numpy.diag([{spacing}, 1])."
    else:
        remedy = "It maps (I, J, K, 1) to RAS in mm; its last column is the place of the first voxel."
    raise UsageError(f"The ijk_to_ras of a {name} is a 4×4 matrix.", remedy, code="usage.matrix")


def _items(record: object) -> Iterator[tuple[str, object]]:
    assert is_dataclass(record)
    return ((f.name, getattr(record, f.name)) for f in fields(record) if f.compare)


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")
    return type(a) is type(b) and bool(a == b)


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} array {value.shape}"
    if isinstance(value, list | dict) and len(value) > _SHOWN_ITEMS:
        return f"{len(value)} items"
    return repr(value)
