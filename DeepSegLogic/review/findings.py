"""Findings: places of a result to look at first, from anatomical plausibility and the run's confidence."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from ..classify.anatomy import shown_instead
from ..classify.scan import Scan
from ..data.affine import ijk_to_ras_points, ras_to_ijk
from ..data.boxes import boxes_by_label, placed
from ..data.label_map import LabelMap, Structure
from ..data.terminology import known_titles
from ..data.types import FloatArray, MaskArray, Slices
from ..util.resources import resource_path
from .confidence import LOW_CONFIDENCE
from .measurements import position

FAR_MM = 15.0  # a piece this far from the largest one is suspicious ...
FAR_ML = 0.2  # ... if it has at least this volume
DOUBLED = 0.3  # volume of a suspicious second piece, as a share of the largest
IN_PIECES = (  # by nature, or where the border of the scan cuts them
    *("small_bowel", "colon", "costal_cartilages", "ribs", "ribs_left", "ribs_right", "lung_left", "lung_right"),
    *("portal_vein_and_splenic_vein", "pulmonary_vein", "vertebrae", "skull", "stomach"),
)
_SPINE = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 14)), *(f"L{n}" for n in range(1, 7)), "S1"]
_TRANSITIONAL = ("vertebrae_T13", "vertebrae_L6")  # that most people lack
_SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])")


Kind: TypeAlias = Literal[
    "elsewhere", "swapped", "order", "missing", "transitional", "volume", "doubled", "far", "confidence"
]
"""In another part of the body, left and right swapped, vertebrae out of order, a missing structure, a transitional
vertebra, an implausible volume, a second large piece, a distant piece, low confidence."""


@dataclass(frozen=True)
class Finding:
    """A place to look at.

    Attributes:
        kind: the test that found it.
        structure: name of the structure.
        reason: one sentence for the user.
        ras: the place, in RAS mm.
    """

    kind: Kind
    structure: str
    reason: str
    ras: tuple[float, float, float]


Hidden: TypeAlias = Collection[tuple[str, str]]
"""Kind and structure of the findings that the reader does not want to see again."""


def without(findings: Sequence[Finding], hidden: Hidden) -> list[Finding]:
    """The findings that the reader did not hide."""
    return [finding for finding in findings if (finding.kind, finding.structure) not in hidden]


@dataclass(frozen=True, eq=False)
class _Piece:
    """A connected piece of a structure.

    Attributes:
        ml: its volume.
        centre: its centre of mass, RAS mm.
        at: its voxel nearest to the centre, RAS mm.
        gap_mm: distance to the largest piece; 0 for structures that may be in pieces.
    """

    ml: float
    centre: FloatArray
    at: FloatArray
    gap_mm: float


_Found: TypeAlias = dict[str, tuple[Structure, list[_Piece]]]
"""Name of each structure with voxels → the structure, and its pieces."""


def review(label_map: LabelMap, confidence: dict[str, float] | None = None, scan: Scan | None = None) -> list[Finding]:
    """Find what to look at first in a label map, the most important findings first.

    Args:
        label_map: the result; it is not changed.
        confidence: structure name → mean probability, from :class:`~DeepSegLogic.segmentation.Result`.
        scan: what the volume is, from :func:`~DeepSegLogic.classify.what_is`; with it, structures where the scan shows
            another part of the body are found.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.review import review
        >>> array = np.zeros((40, 40, 40), np.uint8)  # (K, J, I); I runs to the patient's right
        >>> array[10:30, 10:30, 4:12], array[10:30, 10:30, 28:36] = 1, 2
        >>> kidneys = [Structure(1, "kidney_right", "Right kidney"), Structure(2, "kidney_left", "Left kidney")]
        >>> spacing = np.diag([3.0, 3.0, 3.0, 1.0])
        >>> [(f.kind, f.structure) for f in review(LabelMap(array, spacing, kidneys))]
        [('swapped', 'kidney_left')]
    """
    boxes = {v: box for layer in label_map.layers or [label_map] for v, box in boxes_by_label(layer.array).items()}
    found = {s.name: (s, _pieces_of(label_map, s, boxes.get(s.value))) for s in label_map.structures}
    found = {name: (s, pieces) for name, (s, pieces) in found.items() if pieces}
    findings = [
        *(_elsewhere(found, scan) if scan is not None else ()),
        *_swapped(found),
        *_out_of_order(found),
        *_missing(found, label_map),
        *_transitional(found),
        *_implausible(found, boxes, label_map.array.shape),
        *(f for s, pieces in found.values() for f in _separate(s, pieces)),
    ]
    low = [(confidence[n], n) for n in found if confidence and confidence.get(n, 1.0) < LOW_CONFIDENCE]
    for value, name in sorted(low):
        structure, pieces = found[name]
        sentence = f"{structure.title} has low confidence (mean {value:.2f})."
        findings.append(_finding("confidence", structure, sentence, pieces[0]))
    return findings


def _finding(kind: Kind, structure: Structure, reason: str, piece: _Piece) -> Finding:
    return Finding(kind, structure.name, reason, position(piece.at))


def _pieces_of(label_map: LabelMap, structure: Structure, box: Slices | None) -> list[_Piece]:
    """The face-connected pieces, largest first; without those under ``FAR_ML``, except the largest."""
    from scipy.ndimage import distance_transform_edt, label

    if box is None:
        return []
    mask = label_map.layer_of(structure).array[box] == structure.value
    pieces = label(mask)[0]
    sizes = np.bincount(pieces.ravel())[1:]
    order = np.argsort(-sizes, kind="stable") + 1
    spacing = label_map.spacing_kji
    large = [n for n in order if n == order[0] or sizes[n - 1] * label_map.voxel_ml >= FAR_ML]
    boxes = boxes_by_label(pieces)
    inside = {n: pieces[boxes[n]] == n for n in large}
    gaps = dict.fromkeys(large, 0.0)
    if len(large) > 1 and structure.name not in IN_PIECES:
        away = distance_transform_edt(pieces != order[0], sampling=spacing)
        gaps = {n: float(away[boxes[n]][inside[n]].min()) for n in large}
    return [
        _Piece(sizes[n - 1] * label_map.voxel_ml, *_centre(inside[n], placed(boxes[n], box), label_map), gaps[n])
        for n in large
    ]


def _centre(piece: MaskArray, box: Slices, label_map: LabelMap) -> tuple[FloatArray, FloatArray]:
    """The centre of a piece, a mask of the box's shape, and its voxel nearest to it, in RAS mm."""
    voxels = np.argwhere(piece) + [s.start for s in box]
    places = ijk_to_ras_points(voxels[:, ::-1], label_map.ijk_to_ras)
    centre = places.mean(0)
    return centre, places[((places - centre) ** 2).sum(1).argmin()]


def _mirrored(name: str) -> str | None:
    """``"kidney_left"`` for ``"kidney_right"`` and vice versa; None for a name without a side."""
    side = _SIDES.search(name)
    if side is None:
        return None
    other = "right" if side[1] == "left" else "left"
    return name[: side.start()] + other + name[side.end() :]


def _elsewhere(found: _Found, scan: Scan) -> list[Finding]:
    """Structures most of which lie where the scan shows a part of the body that they are not in."""
    findings = []
    for structure, pieces in found.values():
        shown = [shown_instead(scan, structure.name, float(piece.centre[2])) for piece in pieces]
        wrong = [(piece, region) for piece, region in zip(pieces, shown, strict=True) if region]
        if sum(piece.ml for piece, _ in wrong) > sum(piece.ml for piece in pieces) / 2:
            piece, region = wrong[0]
            sentence = f"{structure.title}: found where the scan seems to show the {region}."
            findings.append(_finding("elsewhere", structure, sentence, piece))
    return findings


def _swapped(found: _Found) -> list[Finding]:
    """Pairs whose left structure lies to the right of the right one."""
    findings = []
    for name, (structure, pieces) in found.items():
        other = _mirrored(name)
        if "left" not in name or other not in found:
            continue
        if pieces[0].centre[0] > found[other][1][0].centre[0]:
            sentence = f"{structure.title} lies to the right of {found[other][0].title}: left and right are swapped."
            findings.append(_finding("swapped", structure, sentence, pieces[0]))
    return findings


def _out_of_order(found: _Found) -> list[Finding]:
    """Vertebrae that lie below the next lower one."""
    spine = [(n, found[f"vertebrae_{n}"]) for n in _SPINE if f"vertebrae_{n}" in found]
    findings = []
    for (_, (upper, above)), (_, (lower, below)) in itertools.pairwise(spine):
        if above[0].centre[2] <= below[0].centre[2]:
            sentence = f"{upper.title} lies below {lower.title}: the vertebrae are out of order."
            findings.append(_finding("order", upper, sentence, above[0]))
    return findings


def _missing(found: _Found, label_map: LabelMap) -> list[Finding]:
    """Vertebrae and ribs missing between others, and structures of a pair missing at a place inside the scan."""
    findings = []
    series = [[f"vertebrae_{n}" for n in _SPINE], *([f"rib_{s}_{n}" for n in range(1, 13)] for s in ("left", "right"))]
    known = {s.name: s for s in label_map.structures}
    gaps = set()
    for names in series:
        present = [i for i, n in enumerate(names) if n in found]
        for i in range(min(present, default=0), max(present, default=0)):
            if names[i] not in found and names[i] not in _TRANSITIONAL:
                gaps.add(names[i])
                above, pieces = found[names[max(p for p in present if p < i)]]
                below, _ = found[names[min(p for p in present if p > i)]]
                title = known[names[i]].title if names[i] in known else names[i]
                sentence = f"{title} is missing between {above.title} and {below.title}."
                findings.append(Finding("missing", names[i], sentence, position(pieces[0].at)))
    middle, titles = _midline(found), known_titles()
    for name, (structure, pieces) in found.items():
        other = _mirrored(name)
        if other is None or other in found or other in gaps or middle is None:
            continue
        if other not in known and other not in titles:  # the left lung has no middle lobe
            continue
        place = pieces[0].centre * [-1, 1, 1] + [2 * middle, 0, 0]
        if _inside(label_map, place):
            sentence = f"{structure.title} has no counterpart on the other side."
            findings.append(Finding("missing", other, sentence, position(place)))
    return findings


def _transitional(found: _Found) -> list[Finding]:
    """Vertebrae that few people have: as often the others were counted wrongly."""
    return [
        _finding(
            "transitional",
            structure,
            f"{structure.title} was found: a transitional vertebra, or the vertebrae were counted wrongly.",
            pieces[0],
        )
        for structure, pieces in (found[name] for name in _TRANSITIONAL if name in found)
    ]


def _midline(found: _Found) -> float | None:
    """R coordinate of the spine in mm; None if there is none."""
    spine = [pieces[0].centre[0] for n, (_, pieces) in found.items() if n.startswith(("vertebrae", "spinal_cord"))]
    return float(np.median(spine)) if spine else None


def _inside(label_map: LabelMap, ras: FloatArray) -> bool:
    """Whether a point in RAS mm lies inside the grid."""
    ijk = ras_to_ijk(ras[None], label_map.ijk_to_ras)[0]
    return bool(((ijk >= 0) & (ijk <= np.array(label_map.array.shape[::-1]) - 1)).all())


@cache
def _volumes() -> dict[str, dict[str, str]]:
    """Structure name → row of ``volumes.csv``: the plausible range in adults (ml), its basis and its source."""
    with resource_path("Terminology", "volumes.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _implausible(found: _Found, boxes: dict[int, Slices], shape: Sequence[int]) -> list[Finding]:
    """Organs that are too small or too large for an adult, if they are whole: not cut by the border of the scan."""
    findings = []
    for name, (structure, pieces) in found.items():
        known = _volumes().get(name)
        if known is None or any(
            s.start == 0 or s.stop == n for s, n in zip(boxes[structure.value], shape, strict=True)
        ):
            continue
        low, high, ml = float(known["low_ml"]), float(known["high_ml"]), sum(p.ml for p in pieces)
        if not low <= ml <= high:
            word = "small" if ml < low else "large"
            sentence = (
                f"{structure.title} is {word} for an adult: {ml:.0f} ml, expected {low:.0f} to {high:.0f} ml "
                f"({known['source']})."
            )
            findings.append(_finding("volume", structure, sentence, pieces[0]))
    return findings


def _separate(structure: Structure, pieces: list[_Piece]) -> list[Finding]:
    """Pieces that are unlikely to belong to a structure: as large as a second organ, or far away."""
    if structure.name in IN_PIECES:
        return []
    findings = []
    twins = [p for p in pieces[1:] if p.ml >= DOUBLED * pieces[0].ml]
    if twins:
        sentence = f"{structure.title} has two large pieces, of {pieces[0].ml:.1f} ml and {twins[0].ml:.1f} ml."
        findings.append(_finding("doubled", structure, sentence, twins[0]))
    far = [p for p in pieces[1:] if p not in twins and p.gap_mm > FAR_MM]
    if far:
        others = f", and {len(far) - 1} more" if len(far) > 1 else ""
        sentence = (
            f"A piece of {structure.title} ({far[0].ml:.1f} ml{others}) lies {far[0].gap_mm:.0f} mm from the rest."
        )
        findings.append(_finding("far", structure, sentence, far[0]))
    return findings
