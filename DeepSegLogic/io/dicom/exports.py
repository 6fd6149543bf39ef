"""The DICOM formats that a label map can be written in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from ...data.label_map import LabelMap
from ...data.run_record import Provenance
from .rtstruct_writer import write_rtstruct
from .seg_writer import must_have_highdicom, write_dicom_labelmap, write_dicom_seg


class Writer(Protocol):
    """As :func:`~DeepSegLogic.io.dicom.seg_writer.write_dicom_seg`."""

    def __call__(
        self,
        label_map: LabelMap,
        path: Path | str,
        *,
        source: Path | str,
        provenance: Provenance | None = None,
        corrected: bool = False,
    ) -> list[str]: ...


class Export(NamedTuple):
    """A format: its writer, and a check that its packages are installed."""

    write: Writer
    check_installed: Callable[[], None]


EXPORTS = {
    "dcm-seg": Export(write_dicom_seg, must_have_highdicom),
    "dcm-labelmap": Export(write_dicom_labelmap, must_have_highdicom),
    "rtstruct": Export(write_rtstruct, lambda: None),
}
