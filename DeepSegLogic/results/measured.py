"""The label map in a folder of results with its measurements: measured again if somebody corrected it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.label_grid import placed_on
from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..io.result_files import LABEL_MAP_FILES, label_map_in, provenance_of, was_changed
from ..io.segment_tags import segments_in, stored_facts
from ..review.measurements import Measurement, measure, read_measurements, same_voxels
from ..util.staging import temporary_folder
from .preview import write_preview


@dataclass(frozen=True)
class MeasuredResult:
    """A result as it is now.

    Attributes:
        label_map: with its structures named as in ``measurements.csv``.
        rows: its measurements, and the structures that were not found.
        corrected: whether the label map was changed since it was written: then other files of the folder do not fit it.
        notes: what the correction changed, and what is missing for want of the volume; one sentence each.
        hidden: findings that a reader hid in 3D Slicer, as far as the label map was saved there since.
    """

    label_map: LabelMap
    rows: list[Measurement]
    corrected: bool = False
    notes: tuple[str, ...] = ()
    hidden: frozenset[tuple[str, str]] = frozenset()

    @property
    def confidence(self) -> dict[str, float]:
        """Of the structures of which it is known."""
        return {row.name: row.confidence for row in self.rows if row.confidence is not None}


def read_measured(folder: Path, read: Callable[[Path], LabelMap], volume: Volume | None = None) -> MeasuredResult:
    """Read a result, and measure its label map again if that was corrected.

    Args:
        read: reads the label map.
        volume: that was segmented; without it a corrected label map has volumes, but no grey values.

    Raises:
        InputError: the label map cannot be read, or lies elsewhere than the volume.
        OSError, ValueError, LookupError: ``measurements.csv`` is missing or damaged, or does not fit the label map.
    """
    before = read_measurements(folder / "measurements.csv")
    file = label_map_in(folder) or folder / LABEL_MAP_FILES["seg.nrrd"]
    label_map, facts = read(file), provenance_of(folder)
    corrected = was_changed(file, facts)
    label_map = _named_as(before, label_map, strict=not corrected)
    hidden = frozenset(stored_facts(segments_in(file)).ignored if file.suffix == ".nrrd" else ())
    if volume is not None:
        label_map = placed_on(volume, label_map)
    if not corrected:
        return MeasuredResult(label_map, before, hidden=hidden)
    of_region = {row.name for row in before if row.cut and "roi" in (facts.get("settings") or {})}
    known = {row.name: row for row in before}
    now = [_joined(row, known.get(row.name), volume) for row in measure(label_map, volume, cut=of_region)]
    found = {row.name for row in now if row.voxels}
    rows = [row for row in now if row.voxels]
    rows += [row for row in before if not row.voxels and row.name not in found]
    return MeasuredResult(label_map, rows, True, tuple(_notes(file.name, before, now, volume)), hidden)


def _notes(file: str, before: list[Measurement], now: list[Measurement], volume: Volume | None) -> Iterator[str]:
    yield f"{file} was corrected: the numbers are those of the corrected structures."
    found, earlier = ({row.name: row.title for row in rows if row.voxels} for rows in (now, before))
    for what, here, there in (("Removed", earlier, found), ("Added", found, earlier)):
        if titles := [title for name, title in here.items() if name not in there]:
            yield f"{what}: {', '.join(titles)}."
    if volume is None:
        yield "Slices, the mean HU, and what the field of view now cuts need the CT that was segmented."


@contextmanager
def preview_of(folder: Path, found: MeasuredResult, volume: Volume | None) -> Iterator[Path | None]:
    """The picture of a result's slices: that of its folder, or drawn again; None without the volume of corrected
    labels.

    Args:
        found: what :func:`read_measured` read there.
        volume: as it got it.
    """
    if not found.corrected:
        yield folder / "preview.png"
    elif volume is None:
        yield None
    else:
        with temporary_folder() as temporary:
            write_preview(volume, found.label_map, temporary / "preview.png")
            yield temporary / "preview.png"


def _named_as(rows: list[Measurement], label_map: LabelMap, strict: bool) -> LabelMap:
    """The label map with its structures named as in the table.

    Older segmentations, and those of other programs, hold the title of a structure, not its name.
    """
    named = {s.name: s.name for s in label_map.structures}
    titled = {s.title: s.name for s in label_map.structures}
    names = {named.get(row.name) or titled.get(row.title): row.name for row in rows if row.voxels}
    if strict and None in names:
        raise LookupError(names[None])

    def renamed(one: LabelMap) -> LabelMap:
        structures = [replace(s, name=names.get(s.name, s.name)) for s in one.structures]
        return replace(one, structures=structures, layers=[renamed(layer) for layer in one.layers])

    return renamed(label_map)


def _joined(row: Measurement, before: Measurement | None, volume: Volume | None) -> Measurement:
    """A measurement with what the run knew of the structure, as far as it still holds."""
    if volume is None:  # the grid alone does not tell: margins may have been left out
        row = replace(row, cut=before is not None and before.cut)
    if before is None or not same_voxels(row, before):
        return row
    if volume is None:
        return before
    return replace(row, confidence=before.confidence, boundary_margin=before.boundary_margin)
