"""The numbers of a plan in words, as faces and the report show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..data.terminology import structure_for
from ..review.field_of_view import bounded
from ..util.i18n import tr as _

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of a plan.

    Attributes:
        title, value: what was measured, and the number with its unit.
        details: lines below it, e.g. the parts of an organ.
        notes: what limits the numbers, one sentence each.
    """

    title: str
    value: str
    details: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


def lines(kind: str, numbers: Numbers, titles: Mapping[str, str]) -> Line:
    """The numbers of one entry.

    Args:
        kind, numbers: as in a plan file.
        titles: of structures, by name; others get the one that DeepSeg knows.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: these are no such numbers.

    Example:
        >>> from DeepSegLogic.planning.texts import lines
        >>> line = lines("distances", {"one": "liver", "other": "aorta", "distance_mm": 12.34, "notes": []}, {})
        >>> line.title, line.value
        ('Liver – Aorta', '12.3 mm')
    """

    def named(name: str) -> str:
        return titles.get(name) or structure_for(name, 1).title

    title, value, details = _LINES[kind](numbers, named)
    return Line(title, value, tuple(details), tuple(str(note) for note in numbers["notes"]))


def segment_title(kind: str, numbers: Numbers, titles: Mapping[str, str], name: str) -> str:
    """The title of one of the straight lines that show an entry.

    Args:
        kind, numbers, titles: as for :func:`lines`, and raises as it.
        name: of the line, as :attr:`DeepSegLogic.session.planned.Planned.segments` has it.

    Example:
        >>> from DeepSegLogic.planning.texts import segment_title
        >>> segment_title("diameters", {"structure": "liver"}, {}, "longest")
        'Liver, longest diameter'
    """
    words = {"longest": _("{}, longest diameter"), "across": _("{}, perpendicular diameter")}
    if name not in words:
        return lines(kind, numbers, titles).title
    structure = numbers["structure"]
    return words[name].format(titles.get(structure) or structure_for(structure, 1).title)


def resected(ml: float, percent: float, cut: bool) -> str:
    """The volume of a part or of a remnant, with its share of the organ as far as the scan shows it.

    Args:
        cut: whether the volume is a lower bound; plans of earlier versions do not tell.

    Example:
        >>> from DeepSegLogic.planning.texts import resected
        >>> resected(386.2, 34.5, cut=True)
        '≥ 386 ml (34.5 %)'
    """
    return f"{bounded(f'{ml:.0f} ml', cut)} ({percent:.1f} %)"


Named = Callable[[str], str]
Found = tuple[str, str, list[Line]]


def _distance(n: Numbers, named: Named) -> Found:
    return f"{named(n['one'])} – {named(n['other'])}", f"{n['distance_mm']:.1f} mm", []


def _contact(n: Numbers, named: Named) -> Found:
    title = _("{one}, within {mm:g} mm of {other}") if n["within_mm"] else _("{one}, touching {other}")
    facts = {"one": named(n["one"]), "other": named(n["other"]), "mm": n["within_mm"]}
    return title.format_map(facts), f"{n['area_mm2']:.0f} mm² ({n['percent']:.1f} %)", []


def _encasement(n: Numbers, named: Named) -> Found:
    title = _("{tumor} around {vessel}").format(tumor=named(n["tumor"]), vessel=named(n["vessel"]))
    return title, f"{n['degrees']:.0f}°", []


def _diameters(n: Numbers, named: Named) -> Found:
    title = _("{}, diameters").format(named(n["structure"]))
    return title, f"{n['longest_mm']:.1f} × {n['perpendicular_mm']:.1f} mm", []


def _vessel(n: Numbers, named: Named) -> Found:
    rows = ((_("Smallest"), "smallest_mm"), (_("Median"), "median_mm"), (_("Largest"), "largest_mm"))
    found = [Line(title, f"{n[key]:.1f} mm") for title, key in rows]
    title = _("{}, along its center line").format(named(n["structure"]))
    return title, f"{n['length_mm']:.0f} mm", [Line(_("Diameter: {}").format(d.title), d.value) for d in found]


def _distance_map(n: Numbers, named: Named) -> Found:
    below, found = 0.0, []
    for band in n["bands"][:-1]:
        below += band["percent"]
        found.append(Line(_("Within {:g} mm").format(band["to_mm"]), f"{below:.1f} %"))
    title = _("Surface of {one}, distance to {other}").format(one=named(n["one"]), other=named(n["other"]))
    return title, "", found


def _margin(n: Numbers, named: Named) -> Found:
    inside = [
        Line(_("Inside: {}").format(named(i["structure"])), f"{i['ml']:.1f} ml ({i['percent']:.1f} %)")
        for i in n["inside"]
    ]
    title = _("{structure}, margin {mm:g} mm").format(structure=named(n["structure"]), mm=n["mm"])
    return title, bounded(f"{n['ml']:.1f} ml", n.get("cut", False)), inside


def _resection(n: Numbers, named: Named) -> Found:
    parts = [
        Line(
            (_("Part {}, removed") if p["removed"] else _("Part {}")).format(p["number"]),
            resected(p["ml"], p["percent"], p.get("cut", False)),
        )
        for p in n["parts"]
    ]
    title = _("{}, remnant").format(named(n["organ"]))
    return title, resected(n["remnant_ml"], n["remnant_percent"], n.get("remnant_cut", False)), parts


def _approach(n: Numbers, named: Named) -> Found:
    crossed = [Line(_("Crosses {}").format(named(c["structure"])), f"{c['mm']:.1f} mm") for c in n["crossed"]]
    spared = [Line(_("To {}").format(named(c["structure"])), f"{c['distance_mm']:.1f} mm") for c in n["clearances"]]
    return _("Straight path"), f"{n['length_mm']:.1f} mm", [*crossed, *spared]


_LINES: dict[str, Callable[[Numbers, Named], Found]] = {
    "distances": _distance,
    "distance_maps": _distance_map,
    "contacts": _contact,
    "encasements": _encasement,
    "diameters": _diameters,
    "vessels": _vessel,
    "margins": _margin,
    "resections": _resection,
    "approaches": _approach,
}
