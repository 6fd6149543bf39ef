"""Corrections by prompts: a click or a stroke fixes one structure, and only that one."""

from importlib import import_module

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


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
