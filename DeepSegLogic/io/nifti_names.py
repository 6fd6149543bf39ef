"""Structure names in a NIfTI label map: the label table of Caret and Connectome Workbench, as a header extension.

TotalSegmentator writes the same table; MITK and 3D Slicer ignore it. NIfTI itself has no field for names.
"""

from __future__ import annotations

import gzip
import html
import re
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from ..data.label_map import Structure

_CODE = 0  # as TotalSegmentator writes; nibabel cannot read the content of 30, Caret's own code
_HEADER, _OFFSET_AT = 348, 108
# No part can match what the next one matches, so the time is linear in the length of any text.
_LABEL = re.compile(r"<Label\b([^<>]*)>(?:\s*<!\[CDATA\[([^<\]]*)\]\]>\s*|([^<]*))</Label>")
_KEY = re.compile(r'\bKey="(\d{1,5})"')


def read_names(path: Path) -> dict[int, str]:
    """Names by label value; empty if the file has no table."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else path.open("rb") as file:
        head = file.read(_HEADER + 4)
        order = "<" if head[:4] == struct.pack("<i", _HEADER) else ">"
        end = struct.unpack(f"{order}f", head[_OFFSET_AT : _OFFSET_AT + 4])[0]
        if not (head[_HEADER : _HEADER + 1] > b"\0" and 352 < end < 2**24):
            return {}
        text = file.read(int(end) - 352).decode("utf-8", "replace")
    found: dict[int, str] = {}
    for attributes, quoted, plain in _LABEL.findall(text):
        name, key = quoted.strip() or html.unescape(plain).strip(), _KEY.search(attributes)
        if key and name and int(key[1]) > 0:
            found[int(key[1])] = name
    return found


def add_names(plain: Path, structures: Sequence[Structure], path: Path) -> None:
    """Copy an uncompressed little-endian NIfTI to ``path`` (``.nii`` or ``.nii.gz``) and add a label table."""
    content = _table(structures).encode()
    content += b" " * (-(len(content) + 8) % 16)
    size = len(content) + 8
    zipped = path.suffix.lower() == ".gz"  # without the time, so that the same content gives the same file
    with plain.open("rb") as source, gzip.GzipFile(path, "wb", 6, mtime=0) if zipped else path.open("wb") as target:
        head = bytearray(source.read(_HEADER))
        source.seek(int(struct.unpack_from("<f", head, _OFFSET_AT)[0]))
        struct.pack_into("<f", head, _OFFSET_AT, 352 + size)
        target.write(head + b"\1\0\0\0" + struct.pack("<2i", size, _CODE) + content)
        shutil.copyfileobj(source, target, 2**20)


def _table(structures: Sequence[Structure]) -> str:
    rows = []
    for s in structures:
        red, green, blue = (f"{c / 255:.4f}" for c in s.color)
        name = html.escape(s.name, quote=False)
        rows.append(f'<Label Key="{s.value}" Red="{red}" Green="{green}" Blue="{blue}" Alpha="1">{name}</Label>')
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension><VolumeInformation Index="0"><LabelTable>\n'
        + "\n".join(rows)
        + "\n</LabelTable><StudyMetaDataLinkSet/><VolumeType>Label</VolumeType></VolumeInformation></CaretExtension>"
    )
