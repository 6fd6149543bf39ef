"""What a face of DeepSeg shows and lets one do, without Qt and without a browser.

The panel in Slicer and the web page bind their widgets to one :class:`Session`, poll it, and hold no rules of
their own.
"""

from .anatomy import PRESETS, Group, groups_of, preset_names, search_structures
from .correction import Correction, entry_text
from .correctors import SOLVER, Corrector, Correctors
from .models import ModelEntry, model_entries
from .preflight import Note, Preflight, WayOut, preflight
from .ranking import LOW_CONFIDENCE, is_doubtful
from .run import Phase, Run
from .session import Session
from .signal import Signal

__all__ = [
    "LOW_CONFIDENCE",
    "PRESETS",
    "SOLVER",
    "Correction",
    "Corrector",
    "Correctors",
    "Group",
    "ModelEntry",
    "Note",
    "Phase",
    "Preflight",
    "Run",
    "Session",
    "Signal",
    "WayOut",
    "entry_text",
    "groups_of",
    "is_doubtful",
    "model_entries",
    "preflight",
    "preset_names",
    "search_structures",
]
