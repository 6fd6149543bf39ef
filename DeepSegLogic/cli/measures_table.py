"""The table of measures that commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from ..review.measurements import Measurement


def table_of(rows: Sequence[Measurement]) -> Table:
    """Volume, mean HU and confidence of the structures that were found, without columns of which nothing is known."""
    from rich.markup import escape
    from rich.table import Table

    from ..review.field_of_view import CUT_LEGEND
    from ..review.measurements import hu_text

    absent = ", ".join(row.title for row in rows if not row.voxels)
    notes = [f"Not found: {escape(absent)}"] if absent else []
    if any(row.cut for row in rows):
        notes.append(CUT_LEGEND)
    found = [row for row in rows if row.voxels]
    columns = {
        "Volume (ml)": [row.volume_text for row in found],
        "Mean HU": [hu_text(row.mean_hu) for row in found],
        "Confidence": ["" if row.confidence is None else f"{row.confidence:.2f}" for row in found],
    }
    columns = {name: texts for name, texts in columns.items() if any(texts)}
    table = Table("Structure", *columns, caption="\n".join(notes), caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row, *texts in zip(found, *columns.values(), strict=True):
        table.add_row(escape(row.title or row.name), *texts)
    return table
