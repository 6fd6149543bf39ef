"""From the session to the page's state: plain values, no rules."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from DeepSegLogic.classify.outline import outline_png
from DeepSegLogic.session import (
    Adaptation,
    Channels,
    Correctors,
    Estimate,
    Input,
    Models,
    Phase,
    Run,
    Settings,
    Structures,
)
from DeepSegLogic.session.enhancements import enhancements
from DeepSegLogic.session.texts import (
    estimate_text,
    install_question,
    offer_rows,
    remaining_text,
    remove_question,
    size_text,
    titles,
)
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.words import counted

from .remedies import WORDS


def initial() -> dict:
    """The state of a page that has nothing yet."""
    return {
        "volume_name": "",
        "facts": "",
        "shows": "",
        "field_of_view": "",
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
        "enhance": "",
        "enhancements": enhancement_items(),
        "has_enhanced": False,
        "see_enhanced": False,
        "ways_out": [],
        "channels": [],
        "force": False,
        "why_not": "",
        "estimate": "",
        "run": _run(Run()),
        "rows": [],
        "no_rows": "",
        "phase": "",
        "result_warnings": [],
        "findings": [],
        "comparison": [],
        "changes": [],
        "days": "",
        "interval": "",
        "cases": [],
        "offer": None,
        "learning": {},
        "minutes": 10,
        "case_patient": "",
        "collecting": "",
        "visible": [],
        "current": "",
        "fill": 0.35,
        "outline": 1,
        "solid": 1.0,
        "rendering": "",
        "legend": False,
        "tool": "",
        "shape": "stroke",
        "brush": 12,
        "reach": 0.0,
        "limited": False,
        "in_hu": False,
        "low": -150,
        "high": 250,
        "told": "",
        "outlined": {},
        "can_undo": False,
        "can_redo": False,
        "unexported": False,
        "exporting": False,
        "delivering": False,
        "formats": ["stl"],
        "no_dicom": "",
        "drawer": True,
        "tab": "segment",
        "alert": None,
    }


def input_state(chosen: Input) -> dict:
    """Facts and notes of the volume."""
    return {
        "volume_name": chosen.volume.name if chosen.volume else "",
        "facts": chosen.preflight.facts,
        "shows": chosen.preflight.shows,
        "field_of_view": _picture(outline_png(chosen.scan)) if chosen.scan is not None and chosen.scan.parts else "",
        "notes": [{"text": n.text, "remedy": n.remedy, "blocking": n.blocking} for n in chosen.preflight.notes],
        "ways_out": [way.value for way in chosen.preflight.ways_out],
    }


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def channels_state(channels: Channels) -> dict:
    """The further images that the model sees."""
    volumes = zip(channels.names, channels.volumes, strict=True)
    return {"channels": [{"name": name, "volume": volume.name if volume else ""} for name, volume in volumes]}


def settings_state(settings: Settings) -> dict:
    """How to run."""
    return {"force": settings.force, "quality": settings.quality, "enhance": settings.enhance}


def enhancement_items() -> list[dict]:
    """How the CT can be enhanced first; the first one is not at all."""
    return [{"value": task, "title": title} for task, title in {"": "Off", **enhancements()}.items()]


def why_not_state(why_not: str) -> dict:
    """Why a run cannot start."""
    return {"why_not": why_not}


def models_state(models: Models) -> dict:
    """The list of models and the one chosen."""
    card = models.chosen
    entries = [
        {
            "value": e.card.id,
            "title": e.card.title,
            "subtitle": f"{counted(len(e.card.structures), 'structure')} · {e.card.licence}",
            "installed": e.installed,
            "missing": bool(e.missing),
            "size": size_text(e.size_bytes) if e.size_bytes else "size unknown",
            "found": ", ".join(e.found),
            "source": e.card.source,
            "use": e.card.intended_use,
            "install": {"kind": "Install", "title": "Install a model", "model": e.card.id, "text": install_question(e)},
            "remove": {"kind": "Remove", "title": "Remove a model", "model": e.card.id, "text": remove_question(e)}
            if e.removable
            else None,
        }
        for e in models.shown
    ]
    return {
        "models": entries,
        "installed": [
            {"value": e.card.id, "title": e.card.title}
            for e in models.all
            if e.installed and not e.card.takes_prompts and not e.card.finds_boxes
        ],
        "model": card.id if card else None,
        "model_text": f"{card.description} Licence: {card.licence}." if card else "",
    }


def correctors_state(correctors: Correctors) -> dict:
    """The correction methods."""
    return {
        "correctors": [{"value": c.id, "title": c.title} for c in correctors.all],
        "corrector": correctors.chosen.id,
        "corrector_text": correctors.text,
    }


def structures_state(structures: Structures) -> dict:
    """The chosen model's structures and which of them are chosen."""
    return {
        "groups": [
            {"title": g.title, "items": [{"name": s.name, "title": s.title} for s in g.structures]}
            for g in structures.groups
        ],
        "presets": structures.presets,
        "chosen": list(structures.chosen),
        "total": len(structures.known),
    }


def estimate_state(estimate: Estimate | None) -> dict:
    """What a run will need."""
    return {"estimate": estimate_text(estimate)}


def adaptation_state(adaptation: Adaptation) -> dict:
    """What the model learns from corrections."""
    offer = adaptation.offer
    return {
        "cases": [
            {
                "digest": c.digest,
                "name": c.name,
                "text": c.damage or titles(c.structures),
                "size": size_text(c.size_bytes),
            }
            for c in adaptation.cases
        ],
        "offer": {"rows": [list(row) for row in offer_rows(offer)], "notes": list(offer.notes)} if offer else None,
        "learning": {
            "collect": adaptation.why_not_collect,
            "learn": adaptation.why_not_learn,
            "back": adaptation.why_not_back,
            "note": " ".join(filter(None, (adaptation.why_not_learn, adaptation.where))),
        },
        "minutes": adaptation.minutes,
        "case_patient": adaptation.patient,
    }


def alert(error: DeepSegError, folders: Iterable[Path]) -> dict:
    """An error as the page shows it.

    Args:
        folders: files below them go by their names, as users know them.
    """
    message, remedy = error.message, error.remedy_in(WORDS)
    for folder in folders:
        inside = re.escape(f"{folder}{os.sep}") + r"(?:[^\s/\\]+[/\\])*"
        message, remedy = (re.sub(inside, "", text) for text in (message, remedy))
    return {"message": message, "remedy": remedy}


def run_state(run: Run) -> dict:
    """The long task."""
    return {"run": _run(run)}


def _run(run: Run) -> dict:
    return {
        "task": run.task,
        "phase": run.phase.value,
        "busy": run.busy,
        "percent": round(100 * run.fraction, 1),
        "stage": "Cancelling" if run.phase is Phase.CANCELLING else run.stage,
        "summary": run.summary,
        "remaining": remaining_text(run),
        "warnings": list(run.warnings),  # a copy: the page only notices a new list
    }
