"""Models that contain code run only after the user trusted exactly these files.

Whether a model contains code is decided by its files (:mod:`DeepSegLogic.models.backends`), never by its card. What
runs is a private copy whose digest is computed while copying, so that it is exactly what the user trusted, whatever
happens to the model's folder meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..util.atomic_write import cannot_write
from ..util.errors import DeepSegError, ModelError
from ..util.staging import temporary_folder
from .backends import code_in, code_marks
from .card import ModelCard
from .files import copy_files, folder_digests, model_digest, model_files
from .store import Store


def trust(card: ModelCard, store: Store | None = None) -> str:
    """Record that the user trusts the model with its present files.

    Returns:
        The recorded digest; for a model of several networks those of all, separated by spaces.

    Raises:
        ModelError: a file is a link or a device, or cannot be read.
        OutputError: the store cannot be written.
    """
    digests = [model_digest(folder_digests(folder)) for folder in _with_code(card)]
    for digest in digests:
        (store or Store()).record("trusted", digest, f"{card.id}: {card.title}")
    return " ".join(digests)


def is_trusted(card: ModelCard, store: Store | None = None) -> bool:
    """Whether the user trusts the model with its present files; always true for a model without code."""
    known = (store or Store()).recorded("trusted")
    return all(model_digest(folder_digests(folder)) in known for folder in _with_code(card))


def needs_trust(card: ModelCard) -> bool:
    """Whether the model's files can contain code that runs when it is loaded."""
    return bool(_with_code(card))


def code_files(card: ModelCard) -> list[Path]:
    """The files that can contain code which runs when the model is loaded, relative to the model's folder.

    Raises:
        ModelError: a file is a link or a device, or cannot be read.
    """
    return sorted(
        path.relative_to(card.installed_folder)
        for folder in _with_code(card)
        for name, path in model_files(folder).items()
        if name.partition("/")[0] in code_marks() or name.endswith(".py")  # a configuration may import them
    )


@contextmanager
def trusted_copy(card: ModelCard) -> Iterator[Path]:
    """A private copy of a network's files, exactly as the user trusts them, to load from; it is deleted afterwards.

    Raises:
        ModelError: the user does not trust them, one is a link or a device, or one cannot be read.
        OutputError: the copy cannot be written.
    """
    folder = card.installed_folder
    known = Store().recorded("trusted")
    with temporary_folder() as place:
        copy = place.resolve()
        copy.chmod(0o700)  # as the folder around it: nobody else may change what is about to run
        # Checked before it is copied, as a model that is not trusted may be very large; and again, as it may change.
        if not is_trusted(card) or model_digest(_copied(folder, copy)) not in known:
            raise ModelError(
                f"The model {card.id} was not run: {code_in(folder) or 'it'} can contain code, and you have not "
                "trusted it.",
                "Trust it if you know where it comes from.",
                code="model.untrusted",
                action="trust_model",
                model=card.id,
                folder=str(folder),
            )
        try:
            yield copy
        except DeepSegError as error:
            error.message = error.message.replace(str(copy), str(folder))
            raise


def _with_code(card: ModelCard) -> list[Path]:
    return [folder for folder in card.network_folders if code_in(folder)]


def _copied(folder: Path, copy: Path) -> dict[str, str]:
    try:
        return copy_files(model_files(folder), copy)
    except OSError as error:
        raise cannot_write(copy, error) from error
