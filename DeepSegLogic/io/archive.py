"""A zip file of a study, as portals and archives give it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..util.errors import InputError, ModelError, told_as
from ..util.safe_zip import extract
from ..util.staging import temporary_folder

SUFFIX = ".zip"


@contextmanager
def unpacked(path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The volume in a zip file, unpacked for as long as the context lasts: the only image file, or a folder of slices.

    Errors inside the context name the zip file in place of the temporary folder.

    Args:
        suffixes: of image files.

    Raises:
        InputError: the zip file is damaged or unsafe, or holds several image files.
        ResourceError: not enough disk space.
    """
    with temporary_folder() as apart:
        folder = apart / (path.stem[:100] or "study")
        try:
            extract(path, folder)
        except ModelError as error:
            raise InputError(error.message, error.remedy, code="input.archive") from error
        images = [p for p in sorted(folder.rglob("*")) if p.name.lower().endswith(suffixes) and p.name[0] not in "._"]
        if len(images) > 1:
            raise InputError(
                f"{path} holds {len(images)} volumes: {images[0].name}, {images[1].name}.",
                "Unpack it and choose one of them.",
                code="input.several",
            )
        with told_as(folder, path):
            yield images[0] if images else folder
