"""From the view model to the page's state: plain values, no rules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.measures import confidence_note
from DeepSegLogic.terminology import structure_for
from DeepSegLogic.viewmodel import Phase, Run, Session, is_doubtful
from DeepSegLogic.viewmodel.anatomy import PRESETS, preset_names
from DeepSegLogic.viewmodel.texts import estimate_text, install_question, remove_question, size_text, time_text

from .scene import WINDOWS


def initial() -> dict:
    """The state of a page that has nothing yet."""
    return {
        "volume_name": "",
        "facts": "",
        "notes": [],
        "reading": "",
        "uploading": "",
        "models": [],
        "installed": [],
        "model_words": "",
        "choosing_model": False,
        "asking": None,
        "model": None,
        "model_text": "",
        "correctors": [],
        "corrector": "",
        "corrector_text": "",
        "words": "",
        "row_words": "",
        "groups": [],
        "presets": [],
        "chosen": [],
        "total": 0,
        "quality": "standard",
        "ways_out": [],
        "force": False,
        "why_not": "",
        "estimate": "",
        "run": _run(Run()),
        "rows": [],
        "findings": [],
        "visible": [],
        "current": "",
        "fill": 0.35,
        "outline": 1,
        "solid": 1.0,
        "rendering": "",
        "greys": next(iter(WINDOWS)),
        "tool": "",
        "shape": "stroke",
        "brush": 12,
        "limited": False,
        "low": -150,
        "high": 250,
        "told": "",
        "can_undo": False,
        "can_redo": False,
        "exporting": False,
        "delivering": False,
        "formats": ["stl"],
        "drawer": True,
        "tab": "segment",
        "alert": None,
    }


def input_state(session: Session) -> dict:
    """Facts and notes of the volume."""
    return {
        "volume_name": session.volume.name if session.volume else "",
        "facts": session.preflight.facts,
        "notes": [{"text": n.text, "remedy": n.remedy, "blocking": n.blocking} for n in session.preflight.notes],
        "ways_out": [way.value for way in session.preflight.ways_out],
        "force": session.force,
    }


def models_state(session: Session) -> dict:
    """The list of models and the one chosen."""
    card = session.model
    entries = [
        {
            "value": e.card.id,
            "title": e.card.title,
            "subtitle": f"{len(e.card.structures)} structures · {e.card.licence}",
            "installed": e.installed,
            "size": size_text(e.size_bytes) if e.size_bytes else "size unknown",
            "found": ", ".join(e.found),
            "source": e.card.source,
            "use": e.card.intended_use,
            "install": {"kind": "Install", "title": "Install a model", "model": e.card.id, "text": install_question(e)},
            "remove": {"kind": "Remove", "title": "Remove a model", "model": e.card.id, "text": remove_question(e)}
            if e.removable
            else None,
        }
        for e in session.models
    ]
    return {
        "models": entries,
        "installed": [
            {"value": e.card.id, "title": e.card.title}
            for e in session.all_models
            if e.installed and not e.card.takes_prompts
        ],
        "model": card.id if card else None,
        "model_text": f"{card.description} Licence: {card.licence}." if card else "",
    }


def correctors_state(session: Session) -> dict:
    """What can compute a correction."""
    correctors = session.correctors
    return {
        "correctors": [{"value": c.id, "title": c.title} for c in correctors.all],
        "corrector": correctors.chosen.id,
        "corrector_text": correctors.text,
    }


def structures_state(session: Session) -> dict:
    """The chosen model's structures and which of them are chosen."""
    names = session.model.structures if session.model else []
    return {
        "groups": [
            {"title": g.title, "items": [{"name": s.name, "title": s.title} for s in g.structures]}
            for g in session.groups
        ],
        "presets": [title for title in PRESETS if preset_names(title, names)],
        "chosen": session.chosen,
        "total": len(names),
    }


def run_state(session: Session) -> dict:
    """The long task."""
    return {"run": _run(session.run)}


def estimate_state(session: Session) -> dict:
    """What a run will take."""
    return {"estimate": estimate_text(session.estimate)}


def result_state(session: Session) -> dict:
    """The table of results; those to look at first come first."""
    if session.result is None:
        return {"rows": []}
    colors = {s.name: "#{:02x}{:02x}{:02x}".format(*s.color) for s in session.result.label_map.structures}
    return {
        "rows": [
            {
                "name": m.name,
                "title": m.title or structure_for(m.name, 1).title,
                "color": colors.get(m.name, "#888888"),
                "volume": f"{m.volume_ml:.1f}" if m.voxels else "–",
                "confidence": f"{m.confidence:.2f}" if m.confidence is not None and m.voxels else "",
                "note": confidence_note(m.confidence, m.boundary_margin),
                "doubtful": is_doubtful(m),
                "found": m.voxels > 0,
            }
            for m in session.measurements
        ]
    }


def findings_state(session: Session) -> dict:
    """What to look at."""
    return {"findings": [finding.reason for finding in session.findings]}


def alert(error: DeepSegError, folders: Iterable[Path]) -> dict:
    """An error as the page shows it.

    Args:
        folders: files below them go by their names, as users know them.
    """
    message, remedy = error.message, error.remedy
    for folder in folders:
        inside = re.escape(f"{folder}{os.sep}") + r"(?:[^\s/\\]+[/\\])*"
        message, remedy = (re.sub(inside, "", text) for text in (message, remedy))
    return {"message": message, "remedy": remedy}


def _run(run: Run) -> dict:
    return {
        "task": run.task,
        "phase": run.phase.value,
        "busy": run.busy,
        "percent": round(100 * run.fraction, 1),
        "stage": "Cancelling" if run.phase is Phase.CANCELLING else run.stage,
        "summary": run.summary,
        "remaining": f"about {time_text(run.remaining_s)} left" if run.remaining_s is not None else "",
        "warnings": list(run.warnings),  # the run's own list would change without being told
    }
