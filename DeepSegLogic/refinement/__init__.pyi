from .prompted_network import PromptNetwork, prompt_network
from .prompts import Box, Lasso, Point, PromptFile, Scribble, read_prompts
from .proposal import Proposal
from .solver import Refinement, propose, refine

__all__ = [
    "Box",
    "Lasso",
    "Point",
    "PromptFile",
    "PromptNetwork",
    "Proposal",
    "Refinement",
    "Scribble",
    "prompt_network",
    "propose",
    "read_prompts",
    "refine",
]
