"""What a backend must offer. Each file beside this one has one, as ``BACKEND``; the table is in ``__init__``.

A backend turns a model's folder into networks and a :class:`~DeepSegLogic.models.plan.Plan`; nothing that comes after
knows where the weights come from. Only :meth:`Backend.load` may import torch, and only it may run a model's code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..files import model_files

if TYPE_CHECKING:
    from ..card import ModelCard
    from ..model import Model


class Backend(ABC):
    """One kind of model.

    Attributes:
        code: files and folders in a model's folder that can contain code which :meth:`load` runs, and how to call each
            in a message. A folder that has one is of this kind, whatever else lies there, and needs the user's trust.
        data: names of files that make a folder one of this kind if no backend's ``code`` is there.
        takes_prompts: whether its models correct a structure from prompts instead of segmenting.
    """

    code: ClassVar[Mapping[str, str]] = {}
    data: ClassVar[tuple[str, ...]] = ()
    takes_prompts: ClassVar[bool] = False

    def find(self, folder: Path) -> list[Path]:
        """The folders in a folder tree that are a model of this kind, by their files; empty for a kind that is
        imported as a single file."""
        return []

    @abstractmethod
    def make_card(self, folder: Path) -> ModelCard:
        """A card for a folder that has none, from what its files say; its id is the folder's name. Runs no code.

        Raises:
            ModelError: files are missing or broken.
        """

    def name_of(self, card: ModelCard, source: str) -> str:
        """What the id of an imported model is made from.

        Args:
            card: from :meth:`make_card`.
            source: name of the file or folder that the user imports, without its suffix.
        """
        return source

    def used_files(self, folder: Path) -> dict[str, Path]:
        """The files that a model of this kind needs, by path in its folder (with ``/``).

        Raises:
            ModelError: files are missing, or one is a link or a device.
            OSError: the folder cannot be read.
        """
        return model_files(folder)

    def check(self, card: ModelCard) -> int | None:
        """Check the files in ``card.folder`` without running code.

        Returns:
            The number of structures that the network marks; None where that is not known.

        Raises:
            ModelError: they cannot be used, or would run code where there should be none.
        """
        return None

    @abstractmethod
    def load(self, card: ModelCard) -> Model:
        """Load networks and plan from ``card.folder``, on the CPU.

        Raises:
            ModelError: files are missing, broken or not trusted, or ask for what DeepSeg does not have.
        """
