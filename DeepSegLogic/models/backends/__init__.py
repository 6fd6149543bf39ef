"""The kinds of models, one file each. What a folder *is* decides its kind; what its card says does not count.

Add a kind: a file with a :class:`~DeepSegLogic.models.backends.contract.Backend`, and its line in ``_TABLE``.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ...util.errors import ModelError

if TYPE_CHECKING:
    from ..card import ModelCard
    from .contract import Backend

_TABLE = {  # the name in cards, and the file; a folder that looks like several is the first of them
    "nninteractive": "nninteractive",
    "nnunet": "nnunet",
    "monai": "monai_bundle",
    "torchscript": "torchscript",
}


@cache
def backends() -> dict[str, Backend]:
    """All backends by the name that cards use, in the order in which a folder is matched."""
    return {name: import_module(f"{__name__}.{file}").BACKEND for name, file in _TABLE.items()}


def kind_of(folder: Path) -> str | None:
    """Name of the backend that a model's folder is of, by its files; None if it is no model.

    A folder with what a backend runs as code is of that backend, whatever else lies there: a model that can run code
    cannot pass for a harmless one.
    """
    marks = [(name, kind) for kind, backend in backends().items() for name in backend.code]
    marks += [(name, kind) for kind, backend in backends().items() for name in backend.data]
    return next((kind for name, kind in marks if os.path.lexists(folder / name)), None)


def backend_for(card: ModelCard, folder: Path) -> Backend:
    """The backend for a model's folder: by its files, or by its card if it has none of a known kind.

    Raises:
        ModelError: this version has no such backend.
    """
    kind = kind_of(folder) or card.backend  # an empty folder: the backend says what is missing
    if kind not in backends():
        raise ModelError(
            f"The model {card.id} needs the backend {kind!r}, which this version does not have.",
            "Update DeepSeg.",
            code="model.backend",
        )
    return backends()[kind]


def code_in(folder: Path) -> str:
    """What in a model's folder can contain code that its backend runs, in words; empty if nothing can."""
    return next((what for name, what in code_marks().items() if os.path.lexists(folder / name)), "")


def code_marks() -> dict[str, str]:
    """Files and folders that can contain code that a backend runs, by name, and what to call them."""
    return {name: what for backend in backends().values() for name, what in backend.code.items()}
