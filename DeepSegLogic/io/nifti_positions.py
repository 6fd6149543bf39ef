"""The positions that a NIfTI states: it can hold two, in its qform and its sform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..data.types import Affine, FloatArray
from .headers.fields import NO_ORIENTATION

if TYPE_CHECKING:
    import SimpleITK as sitk

_SAME_PLACE_MM = 1.0


def nifti_doubts(reader: sitk.ImageFileReader, matrix: Affine, size: Sequence[int]) -> list[str]:
    """Whether a NIfTI states its position, and only one.

    Args:
        reader: has read the file; others than NIfTI have no doubts.
        matrix: ijk to RAS as ITK, so 3D Slicer, reads it.
        size: (I, J, K).
    """
    if not reader.HasMetaDataKey("srow_x"):
        return []
    get = reader.GetMetaData
    sform, qform = int(get("sform_code")), int(get("qform_code"))
    if sform <= 0 and qform <= 0:
        return [NO_ORIENTATION]
    unit = {1: 1000.0, 3: 0.001}.get(int(get("xyzt_units")) & 7, 1.0)
    ends = np.array([[0, 0, 0, 1], [*(n - 1 for n in size[:3]), 1]]).T

    def elsewhere(stated: FloatArray) -> bool:
        return bool(np.abs(matrix[:3] @ ends - unit * stated @ ends).max() > _SAME_PLACE_MM)

    if sform > 0 and elsewhere(np.array([get(f"srow_{axis}").split() for axis in "xyz"], float)):
        return ["The file states two positions. As in 3D Slicer, its qform is used; other programs use its sform."]
    if sform > 0 and qform > 0 and all(elsewhere(_qform(get, hand)) for hand in (1, -1)):
        return ["The file states two positions. As in 3D Slicer, its sform is used; its qform states another."]
    return []


def _qform(get: Callable[[str], str], hand: int) -> FloatArray:
    """The qform as a matrix (3, 4), from its quaternion as the NIfTI standard says.

    Args:
        hand: 1 for a right-handed grid, -1 for a left-handed one: ITK does not tell (``pixdim[0]``).
    """
    b, c, d = (float(get(f"quatern_{axis}")) for axis in "bcd")
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.array([float(get(f"pixdim[{n}]")) for n in (1, 2, 3)]) * [1, 1, hand]
    offset = [float(get(f"qoffset_{axis}")) for axis in "xyz"]
    return np.column_stack([turn * sizes, offset])
