"""From the session's outcome to the page's state: plain values, no rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.review.field_of_view import cut_note
from DeepSegLogic.review.findings import Finding
from DeepSegLogic.review.measurements import Measurement, confidence_note, volume_text
from DeepSegLogic.session import is_doubtful
from DeepSegLogic.util.words import signed_text

if TYPE_CHECKING:
    from DeepSegLogic.evaluation.scoring import Score
    from DeepSegLogic.followup.change import Change


def result_state(measurements: list[Measurement], label_map: LabelMap) -> dict:
    """The table of results; those to check first come first."""
    colors = {s.name: "#{:02x}{:02x}{:02x}".format(*s.color) for s in label_map.structures}
    return {
        "rows": [
            {
                "name": m.name,
                "title": m.title or structure_for(m.name, 1).title,
                "color": colors.get(m.name, "#888888"),
                "volume": m.volume_text if m.voxels else "–",
                "cut": cut_note(m.cut),
                "confidence": f"{m.confidence:.2f}" if m.confidence is not None and m.voxels else "",
                "note": confidence_note(m.confidence, m.boundary_margin),
                "doubtful": is_doubtful(m),
                "found": m.voxels > 0,
            }
            for m in measurements
        ]
    }


def findings_state(findings: list[Finding]) -> dict:
    """What to check."""
    return {"findings": [finding.reason for finding in findings]}


def comparison_state(scores: list[Score]) -> dict:
    """The comparison with a reference; structures that both lack are left out."""
    return {
        "comparison": [
            {
                "title": s.title,
                "dice": f"{s.values['dice']:.3f}",
                "surface_dice": f"{s.values['surface_dice']:.3f}",
                "hd95": f"{s.values['hd95_mm']:.1f}" if math.isfinite(s.values["hd95_mm"]) else "–",
                "error": signed_text(s.values["volume_error_ml"]),
            }
            for s in scores
            if math.isfinite(s.values["dice"])
        ]
    }


def changes_state(changes: list[Change]) -> dict:
    """The changes since an earlier scan."""
    return {
        "changes": [
            {
                "title": c.full_title,
                "before": volume_text(c.before_ml, c.cut_before),
                "after": volume_text(c.after_ml, c.cut_after),
                "percent": "–" if c.change_percent is None else signed_text(c.change_percent),
                "note": c.sentence,
            }
            for c in changes
        ]
    }
