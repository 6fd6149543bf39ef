from ..review.confidence import LOW_CONFIDENCE, is_doubtful
from .adaptation import Adaptation
from .archive import SEGMENTATIONS, SessionArchive
from .choices import Choices
from .chosen import Channels, Estimate, Input, Place, Settings, Structures
from .correction import Correction, Proposed, entry_text
from .correctors import SOLVER, Corrector, Correctors
from .detection import Detection
from .drafting import Drafting
from .jobs import Jobs
from .model_list import ModelEntry, Models, model_entries
from .newest import Newest
from .outcome import Outcome
from .planned import Planned
from .planning import Planning
from .preflight import Note, Preflight, WayOut
from .session import Session
from .signal import Signal
from .structure_presets import PRESETS, Group, groups_of, preset_names, search_structures
from .sureness import Sureness
from .task import Phase, Run

__all__ = [
    "LOW_CONFIDENCE",
    "PRESETS",
    "SEGMENTATIONS",
    "SOLVER",
    "Adaptation",
    "Channels",
    "Choices",
    "Correction",
    "Corrector",
    "Correctors",
    "Detection",
    "Drafting",
    "Estimate",
    "Group",
    "Input",
    "Jobs",
    "ModelEntry",
    "Models",
    "Newest",
    "Note",
    "Outcome",
    "Phase",
    "Place",
    "Planned",
    "Planning",
    "Preflight",
    "Proposed",
    "Run",
    "Session",
    "SessionArchive",
    "Settings",
    "Signal",
    "Structures",
    "Sureness",
    "WayOut",
    "entry_text",
    "groups_of",
    "is_doubtful",
    "model_entries",
    "preset_names",
    "search_structures",
]
