"""Models: cards, where they are found, and the backends that load them."""

from .card import ModelCard
from .loading import Model, load_model
from .registry import coarser_model, find_model

__all__ = ["Model", "ModelCard", "coarser_model", "find_model", "load_model"]
