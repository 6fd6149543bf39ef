"""What the numbers in a NIfTI label map stand for, in its header: the label table of Caret and Connectome Workbench.

TotalSegmentator writes the same table, and MITK and 3D Slicer pass over it. NIfTI itself has no place for names.
"""

from __future__ import annotations

import gzip
import html
import re
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from ..labels import Structure

_CODE = 0  # as TotalSegmentator gives; nibabel cannot read the content of 30, which is Caret's
_HEADER, _OFFSET_AT = 348, 108
# No part can match what the next one matches: the time is that of the text's length, whatever the text.
_LABEL = re.compile(r"<Label\b([^<>]*)>(?:\s*<!\[CDATA\[([^<\]]*)\]\]>\s*|([^<]*))</Label>")
_KEY = re.compile(r'\bKey="(\d{1,5})"')


def read_names(path: Path) -> dict[int, str]:
    """Names by voxel value; none where the file has no table."""
    with path.open("rb") as file:
        opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
    with opener(path, "rb") as file:
        head = file.read(_HEADER + 4)
        order = "<" if head[:4] == struct.pack("<i", _HEADER) else ">"
        end = struct.unpack(f"{order}f", head[_OFFSET_AT : _OFFSET_AT + 4])[0]
        if not (head[_HEADER : _HEADER + 1] > b"\0" and 352 < end < 2**24):
            return {}
        text = file.read(int(end) - 352).decode("utf-8", "replace")
    found = {}
    for attributes, quoted, plain in _LABEL.findall(text):
        name, key = quoted.strip() or html.unescape(plain).strip(), _KEY.search(attributes)
        if key and name and int(key[1]) > 0:
            found[int(key[1])] = name
    return found


def add_names(plain: Path, structures: Sequence[Structure], path: Path) -> None:
    """Copy an uncompressed NIfTI of little-endian order to ``path`` (``.nii`` or ``.nii.gz``), with a label table."""
    content = _table(structures).encode()
    content += b" " * (-(len(content) + 8) % 16)
    size = len(content) + 8
    zipped = path.suffix.lower() == ".gz"
    with plain.open("rb") as source, gzip.open(path, "wb", 6) if zipped else path.open("wb") as target:
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
