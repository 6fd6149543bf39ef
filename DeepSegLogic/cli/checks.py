"""What is cheap to know is checked before anything is read or downloaded, so that no mistake costs a wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..util.errors import UsageError


def before_reading(
    *inputs: Path | None, folder: Path | None = None, file: Path | None = None, device: str = "auto"
) -> None:
    """Check what a command was given.

    Args:
        inputs: files and folders that it reads; None for those that were not given.
        folder, file: where it writes; None for nowhere. The file must not be one of the inputs.
        device: on this machine.

    Raises:
        InputError: an input is missing, empty or cannot be opened.
        OutputError: the output cannot be written.
        UsageError: there is no device of that name, or the file is an input.
        ResourceError: this machine does not have it.
    """
    from ..io.files import must_exist
    from ..util.atomic_write import check_output_file, check_output_folder

    for path in inputs:
        if path is not None:
            must_exist(path.expanduser())
    if device != "auto":
        from ..inference.device import choose_device

        choose_device(device)
    if folder is not None:
        check_output_folder(folder)
    if file is not None:
        if any(path is not None and file.exists() and file.samefile(path.expanduser()) for path in inputs):
            raise UsageError(
                f"{file} is the input, which must stay as it is.", "Choose another name.", code="usage.output"
            )
        check_output_file(file)


def must_differ(files: Sequence[Path]) -> None:
    """Check that no two files to write are the same one.

    Raises:
        UsageError: two are.
    """
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"{files[-1]} is named twice.", "Choose another name for one of them.", code="usage.output")


def must_end(file: Path, suffix: str) -> None:
    """Check the name of a file to write, so that a slip does not replace another one.

    Raises:
        UsageError: it has another suffix.
    """
    if file.suffix.lower() != suffix:
        raise UsageError(f"{file} does not end with {suffix}.", "Choose another name.", code="usage.format")


def must_be_one_duration(minutes: float | None, steps: int | None) -> None:
    """Check that a training is not limited twice.

    Raises:
        UsageError: it is.
    """
    if minutes is not None and steps is not None:
        raise UsageError("Both --minutes and --steps are given.", "Give one of them.", code="usage.duration")
