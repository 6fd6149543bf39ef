"""The scale bar of a slice view."""

from __future__ import annotations

import math

LARGEST = 0.3
"""Of the width of the view."""


def scale_bar(field_mm: float) -> dict:
    """The longest bar of 1, 2 or 5 times a power of ten that takes at most :data:`LARGEST` of a view.

    Args:
        field_mm: what the view shows from its left to its right side.

    Returns:
        ``text``, such as 5 cm, and ``share`` of the view's width.
    """
    decade = 10 ** math.floor(math.log10(LARGEST * field_mm))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= LARGEST * field_mm)
    return {"text": f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm", "share": length / field_mm}
