"""Reading weight files as data, never as code."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ..util.errors import ModelError
from .files import missing, opened

_OLD_FORMAT = 5  # pickles one after the other, without checksums


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, with its tensors on the CPU.

    Files are unpickled with ``weights_only=True``: a file that contains anything but tensors, numbers and plain
    containers is refused before any of it runs.

    Raises:
        ModelError: the file is missing, broken, or contains code.
    """
    try:
        with opened(path):  # not a link, not a device
            pass
        with _numpy_numbers_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise missing(path) from None
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        if not _is_whole(path):
            raise _broken(path, "the file is incomplete") from error
        raise ModelError(
            f"The weights {path} contain program code{_or_damage(path)}; nothing in them was run.",
            "Do not use this file; get the model from its publisher.",
            code="model.untrusted",
        ) from error
    except Exception as error:  # the parsers of torch raise all kinds of errors
        raise _broken(path, error) from error
    if not isinstance(content, dict):
        raise _broken(path, f"it contains a {type(content).__name__}")
    return content


def _is_whole(path: Path) -> bool:
    """Whether a refused file is undamaged, so that damage is not the reason it was refused."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                for name in zipped.namelist():
                    if name.endswith(".pkl"):
                        zipped.read(name)  # compares the checksum
            return True
        with path.open("rb") as file:
            for _ in range(_OLD_FORMAT):
                if not file.peek(1):
                    break
                for _ in pickletools.genops(file):
                    pass
        return True
    except Exception:  # these parsers raise all kinds of errors
        return False


def _or_damage(path: Path) -> str:
    return ", not just numbers" if zipfile.is_zipfile(path) else " or are damaged"  # old formats cannot tell which


def _broken(path: Path, error: object) -> ModelError:
    reason = (str(error).splitlines() or ["unreadable"])[0].partition(". ")[0].rstrip(".")
    return ModelError(
        f"The weights {path} are corrupted ({reason}).", "Install the model again.", code="model.corrupted"
    )


def _numpy_numbers_allowed() -> AbstractContextManager[None]:
    """Let torch read numpy numbers, in which nnU-Net's checkpoints log their training."""
    import numpy as np

    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        return nullcontext()
    try:
        from numpy._core.multiarray import scalar
    except ImportError:  # before numpy 1.26
        from numpy.core.multiarray import scalar  # type: ignore[no-redef]
    # A checkpoint has the name of the numpy that wrote it, which may not be the one here.
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = [type(np.dtype(t)) for t in ("f4", "f8", "i4", "i8", "u1", "bool")]
    allowed: AbstractContextManager[None] = allow([*scalars, np.dtype, *dtypes])
    return allowed
