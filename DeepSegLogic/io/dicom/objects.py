"""What kind of DICOM object a file is, read from its own header, and the texts in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..files import opened

_STORAGE = "1.2.840.10008.5.1.4.1.1."
CT = {f"{_STORAGE}2", f"{_STORAGE}2.1", f"{_STORAGE}2.2"}  # CT, enhanced CT, legacy converted enhanced CT
SCANS = CT | {f"{_STORAGE}{part}" for part in ("4", "4.1", "4.4", "128", "128.1", "130")}  # and MR, PET
SECONDARY_CAPTURE = f"{_STORAGE}7"  # with its multi-frame kinds, whose UIDs begin so
# Presentation states; parametric maps; registrations, segmentations and other raw data; radiotherapy.
NOT_SLICES = tuple(f"{_STORAGE}{part}" for part in ("11.", "30", "66", "481."))
_TEXT_ONLY = tuple(f"{_STORAGE}{part}" for part in ("88.", "104.", "9.", "67", "77.1.5.4"))  # reports, documents
Table: TypeAlias = tuple[int, npt.NDArray[np.integer[Any]], str]
DEFLATED = "1.2.840.10008.1.2.1.99"  # transfer syntax of a file that is compressed as a whole
_CLASS_ELEMENT, _TABLE_ELEMENT = 0x00080016, 0x00283000


def header_of(path: Path, last: int = _CLASS_ELEMENT) -> Any:
    """The dataset of a file up to the element ``last``, or its file meta information if the rest is compressed.

    Empty if pydicom cannot parse it.
    """
    import pydicom

    def beyond(tag: int, _vr: str | None, _length: int) -> bool:
        return tag > last

    meta: Any
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DEFLATED:  # pydicom would unpack it whole
            return meta
    except Exception:  # no meta information: pydicom raises whatever its parser meets
        meta = pydicom.Dataset()
    try:
        with opened(path) as file:
            return pydicom.filereader.read_partial(file, beyond, force=True)
    except Exception:
        return meta


def sop_class(path: Path) -> str:
    """The UID of a file's own SOP class; other objects that it refers to do not count. Empty if it has none."""
    return class_in(header_of(path))


def class_in(header: Any) -> str:
    """The UID of the SOP class in a header that :func:`header_of` gave; empty if it has none."""
    own = header.get("SOPClassUID") or getattr(header, "file_meta", header).get("MediaStorageSOPClassUID")
    return str(own or "")


def may_be_slice(uid: str) -> bool:
    """Whether objects of a SOP class can be slices of a volume."""
    return not uid.startswith(NOT_SLICES + _TEXT_ONLY)


def class_name(uid: str) -> str:
    """The name of a SOP class, such as ``Segmentation Storage``; the UID if it has no name."""
    from pydicom.uid import UID

    return str(UID(uid).name) if uid else "an object of no stated class"


def compression(path: Path) -> str:
    """The name of a file's transfer syntax, or its UID if it has no name."""
    import pydicom

    try:
        return str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID.name)
    except Exception:  # pydicom raises whatever its parser meets
        return "its header names no transfer syntax"


def decoded_text(text: str, charset: str) -> str:
    """A text as SimpleITK gives it, decoded by the file's own character set. Unknown letters become U+FFFD."""
    if text.isascii() and "\x1b" not in text:
        return text
    from pydicom.charset import convert_encodings, decode_bytes

    raw = text.encode("utf-8", "surrogateescape")
    try:
        decoded = decode_bytes(raw, convert_encodings(charset.split("\\")), set())
    except Exception:  # a character set that pydicom does not know
        decoded = raw.decode("utf-8", "replace")
    decoded = decoded.encode("utf-8", "replace").decode("utf-8", "replace")  # no lone surrogates
    return re.sub(r"[\0-\x1f\x7f]+", " ", decoded).strip()


def modality_table(path: Path) -> Table | None:
    """The table from stored values to output values (Modality LUT): first stored value, outputs, their unit.

    None if the file has no table.

    Raises:
        ValueError, TypeError, AttributeError: the table is damaged.
    """
    items = header_of(path, _TABLE_ELEMENT).get("ModalityLUTSequence")
    if not items:
        return None
    count, first, _ = (int(number) for number in items[0].LUTDescriptor)
    data = items[0].LUTData
    values: Any = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
    kind = str(items[0].get("ModalityLUTType") or "")
    values = values.astype(np.int16 if kind == "HU" else np.int64)[: count or 2**16]  # HU may be negative
    if len(values) != (count or 2**16):
        raise ValueError("the table is shorter than it announces")
    return first - 2**16 if first >= 2**15 and values.size < 2**15 else first, values, kind
