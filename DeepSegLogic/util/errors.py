"""Errors that a user can act on: what is wrong, with which file or setting, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

Action = Literal[
    "allow_other_host",
    "choose_device",
    "choose_model",
    "collect_case",
    "correct_with_model",
    "download_model",
    "give_card",
    "give_channel",
    "give_image",
    "give_token",
    "go_on_anyway",
    "import_model",
    "install_extra",
    "keep_probabilities",
    "lower_quality",
    "make_surfaces",
    "rename_model",
    "replace_model",
    "save_server",
    "segment_again",
    "set_up_drafting",
    "start_service",
    "trust_model",
]
"""What a user can do about an error. Each face has a table that says how to do it there."""

ACTION_DETAILS: Mapping[Action, tuple[str, ...]] = {
    "choose_device": ("device",),
    "collect_case": ("model",),
    "correct_with_model": ("model",),
    "download_model": ("model",),
    "give_channel": ("channel",),
    "install_extra": ("extra", "how"),
    "trust_model": ("model", "folder"),
}
"""The details that come with an action, by name; none for the others."""


class DeepSegError(Exception):
    """Base of all errors that DeepSeg raises on purpose.

    Args:
        message: one sentence that says what is wrong and names the file or setting.
        remedy: what to do, in words that hold for every face: no command-line flag, no button.
        code: a stable, dotted code for programs, e.g. ``"input.truncated"``; defaults to the class's own.
        action: what a user can do about it in DeepSeg; a face says how, see :meth:`remedy_in`.
        details: of the action, see :data:`ACTION_DETAILS`.

    ``exit_code`` is what the command line returns (documented in the README).

    Example:
        >>> from DeepSegLogic import ModelError
        >>> error = ModelError("The model liver is not installed.", "Download it first.",
        ...                    code="model.not_installed", action="download_model", model="liver")
        >>> str(error)
        'The model liver is not installed. Download it first.'
        >>> error.remedy_in({"download_model": "Run `deepseg models download {model}`."})
        'Download it first. Run `deepseg models download liver`.'
    """

    code = "internal"
    exit_code = 1

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        code: str | None = None,
        action: Action | None = None,
        **details: str,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.action = action
        self.details = details
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def remedy_in(self, words: Mapping[Action, str]) -> str:
        """The remedy in the words of a face.

        Args:
            words: how to do each action there, with the action's details in braces; empty where the face does
                not offer it.
        """
        how = words[self.action].format_map(self.details) if self.action is not None else ""
        return f"{self.remedy} {how}".strip()

    def __reduce__(self) -> tuple[Callable[..., DeepSegError], tuple[object, ...]]:
        return _rebuild, (type(self), self.message, self.remedy, self.code, self.action, self.details)


@contextmanager
def told_as(copy: Path, original: Path) -> Iterator[None]:
    """Errors about a copy, which the user never saw, name the original."""
    try:
        yield
    except DeepSegError as error:
        error.message = error.message.replace(str(copy), str(original))
        error.remedy = error.remedy.replace(str(copy), str(original))
        raise


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind if it says nothing, as Python's MemoryError."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


def last_line(error: BaseException) -> str:
    """The last line of what an error says, where torch and ITK have the reason; its kind if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()


def checked_action(action: object, details: object) -> tuple[Action | None, dict[str, str]]:
    """An action and its details as another process sent them; none if this version does not know them."""
    known = next((a for a in get_args(Action) if a == action), None)
    names = ACTION_DETAILS.get(known, ()) if known is not None else ()
    given = details if isinstance(details, dict) else {}
    if known is None or not all(isinstance(given.get(name), str) for name in names):
        return None, {}
    return known, {name: given[name] for name in names}


def _rebuild(
    cls: type[DeepSegError],
    message: str,
    remedy: str,
    code: str,
    action: Action | None = None,
    details: Mapping[str, str] | None = None,
) -> DeepSegError:
    error = cls(message, remedy, code=code)
    error.action, error.details = action, dict(details or {})
    return error


class UsageError(DeepSegError):
    """A setting or argument that cannot be used, e.g. an unknown structure name."""

    code = "usage"
    exit_code = 2


class InputError(DeepSegError):
    """An image, label map or prompt file that cannot be used."""

    code = "input"
    exit_code = 3


class ModelError(DeepSegError):
    """A model that is missing, broken, untrusted or does not fit the input."""

    code = "model"
    exit_code = 4


class OutputError(DeepSegError):
    """A result that cannot be written; what was there before is untouched."""

    code = "output"
    exit_code = 5


class ResourceError(DeepSegError):
    """Not enough memory or disk, no such device, or a device lost during the run."""

    code = "resource"
    exit_code = 6


class Cancelled(DeepSegError):
    """The user cancelled; nothing was written."""

    code = "cancelled"
    exit_code = 130

    def __init__(self, message: str = "Cancelled.", remedy: str = "", *, code: str | None = None) -> None:
        super().__init__(message, remedy, code=code)
