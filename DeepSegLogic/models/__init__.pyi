from .card import ModelCard
from .find import coarser_model, find_model
from .model import Model, load_model

__all__ = ["Model", "ModelCard", "coarser_model", "find_model", "load_model"]
