"""An evaluation as one HTML file: tables, plots, pictures of the worst cases. It needs no network and no server."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from ...data.terminology import structure_for
from ...results.report import STYLE
from ...util.words import Listed, all_of, counted
from ..evaluation import Evaluation
from ..metrics import METRICS
from ..pictures import COLORS, DifferencePicture
from ..plots import bland_altman, box_plot
from ..reliability_plot import reliability_diagram
from ..statistics import ALL, Mean, Summary

_PLOTTED = ("dice", "surface_dice", "hd95_mm")
_GAPS = 10


def page(evaluation: Evaluation, summary: Summary, created: str) -> str:
    """The report as HTML.

    Args:
        created: time in ISO 8601.
    """
    thresholds = evaluation.thresholds
    return Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8")).substitute(
        style=STYLE.read_text(encoding="utf-8"),
        facts=escape(f"{counted(len(evaluation.cases), 'case')} · {created.replace('T', ' ')[:16]}"),
        warnings="".join(f'<p class="faint">{escape(sentence)}</p>' for sentence in notes(evaluation)),
        means=_means(evaluation, summary),
        definitions=escape(
            f"Surface Dice within {thresholds.tolerance_mm:g} mm; a lesion is detected from an IoU of "
            f"{thresholds.lesion_iou:g}. Means leave out what has no finite value: distances where one side is empty. "
            "Missed: in the reference only. Invented: in the prediction only."
        ),
        sections="\n".join(filter(None, _sections(evaluation, summary))),
    )


def notes(evaluation: Evaluation, listed: Listed = all_of) -> list[str]:
    """What was not compared, and the warnings, in sentences."""
    groups = evaluation.attributes
    lists = {
        "Cases only in the prediction": evaluation.only_prediction,
        "Cases only in the reference": evaluation.only_reference,
        "Cases without attributes": [c for c in evaluation.cases if groups and c not in groups],
        "Structures only in the prediction, not scored": _titles(evaluation.structures_only_prediction),
        "Structures only in the reference, not scored": _titles(evaluation.structures_only_reference),
    }
    return [
        *(f"{case} was not compared: {reason}" for case, reason in evaluation.failed.items()),
        *(f"{what}: {listed(names)}." for what, names in lists.items() if names),
        *evaluation.warnings,
    ]


def _titles(names: list[str]) -> list[str]:
    return [structure_for(name, 1).title for name in names]


def worded(mean: Mean, digits: int) -> str:
    """A mean with its interval, such as ``"0.912 [0.894, 0.930]"``; empty without a value."""
    if not mean.n:
        return ""
    interval = f" [{mean.low:.{digits}f}, {mean.high:.{digits}f}]" if math.isfinite(mean.low) else ""
    return f"{mean.mean:.{digits}f}{interval}"


def _sections(evaluation: Evaluation, summary: Summary) -> Iterable[str]:
    for metric in _PLOTTED:
        values = {
            title: [v for v in evaluation.values(metric, name).values() if math.isfinite(v)]
            for name, title in evaluation.titles.items()
        }
        yield _section(METRICS[metric].title, box_plot(values, METRICS[metric].title))
    volumes = [(f"{s.case}, {s.title}", s.values["prediction_ml"], s.values["reference_ml"]) for s in evaluation.scores]
    yield _section("Reliability", reliability_diagram(evaluation.reliability, evaluation.titles))
    yield _section("Agreement of volumes", bland_altman([v for v in volumes if min(v[1:]) > 0]))
    for attribute, groups in summary.groups.items():
        rows = [
            [group, str(found[ALL]["dice"].n), *(worded(mean, 3) for mean in found[ALL].values())]
            for group, found in groups.items()
        ]
        yield _section(f"By {attribute}", _table([attribute, "Cases", "Dice", "Surface Dice"], rows))
    gaps = [
        [g.attribute, evaluation.titles.get(g.structure, g.structure), f"{g.difference:.3f}", g.better, g.worse]
        for g in summary.gaps[:_GAPS]
    ]
    header = ["Attribute", "Structure", "Gap in Dice", "Better", "Worse"]
    yield _section("Largest gaps between subgroups", _table(header, gaps) if gaps else "")
    yield _section("Lowest Dice", "".join(map(_figure, evaluation.worst)))


def _means(evaluation: Evaluation, summary: Summary) -> str:
    shown = [m for m in METRICS.values() if any(found[m.name].n for found in summary.means.values())]
    rows = []
    for name, found in summary.means.items():
        counts = summary.counts.get(name)
        numbers = (counts.cases, counts.missed, counts.invented) if counts else (len(evaluation.cases), "", "")
        title = evaluation.titles.get(name, name.capitalize())
        rows.append([title, *map(str, numbers), *(worded(found[m.name], m.digits) for m in shown)])
    return _table(["Structure", "Cases", "Missed", "Invented", *(m.title for m in shown)], rows)


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        first, *others = map(escape, cells)
        return f"<tr><{tag}>{first}</{tag}>{''.join(f'<{tag} class=num>{cell}</{tag}>' for cell in others)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead>\n<tbody>{body}</tbody></table>"


def _figure(found: DifferencePicture) -> str:
    with io.BytesIO() as file:
        found.drawn().save(file, "PNG")
        source = base64.b64encode(file.getvalue()).decode("ascii")
    legend = " ".join(
        f'<span class="dot" style="background:rgb{color}"></span>{word}'
        for word, color in zip(("both", "missed", "extra"), COLORS.values(), strict=True)
    )
    caption = f"{escape(found.title)} in {escape(found.case)}: Dice {found.dice:.3f}"
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/png;base64,{source}">'
        f'<figcaption class="faint">{caption} · {legend}</figcaption></figure>'
    )
