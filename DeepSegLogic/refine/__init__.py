"""Corrections by prompts: a click or a stroke fixes one structure, and only that one."""

from ..lazy import imported_on_use

_HOME_OF = {
    "Box": "prompts",
    "Lasso": "prompts",
    "Point": "prompts",
    "PromptFile": "prompts",
    "PromptNetwork": "network",
    "prompt_network": "network",
    "Refinement": "solve",
    "Scribble": "prompts",
    "read_prompts": "prompts",
    "refine": "solve",
}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
