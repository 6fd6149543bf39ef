"""Reading weight files as data, never as code."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from pathlib import Path

import torch

from ..errors import ModelError


def read_checkpoint(path: Path) -> dict:
    """A checkpoint's content, tensors on the CPU.

    Files are unpickled with ``weights_only=True``: a file that holds anything but tensors, numbers and
    plain containers is refused before any of it runs.

    Raises:
        ModelError: the file is missing, broken, or holds code.
    """
    try:
        with _numpy_numbers_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(
            f"The model lacks its file {path}.", "Install the model again.", code="model.missing"
        ) from None
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error) or "WeightsUnpickler" in str(error):
            raise ModelError(
                f"The weights {path} hold program code, not just numbers; nothing in them was run.",
                "Get the model from its publisher, and do not use this file.",
                code="model.untrusted",
            ) from error
        raise _broken(path, error) from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        OSError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        raise _broken(path, error) from error
    if not isinstance(content, dict):
        raise _broken(path, f"it holds a {type(content).__name__}")
    return content


def _broken(path: Path, error) -> ModelError:
    reason = (str(error).splitlines() or ["unreadable"])[0].rstrip(".")
    return ModelError(
        f"The weights {path} are corrupted ({reason}).", "Install the model again.", code="model.corrupted"
    )


def _numpy_numbers_allowed():
    """nnU-Net's checkpoints log their training as numpy numbers: data too, but torch must be told."""
    import numpy as np

    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        return nullcontext()
    core = getattr(np, "_core", None) or np.core
    scalar = core.multiarray.scalar
    dtypes = [type(np.dtype(t)) for t in ("f4", "f8", "i4", "i8", "u1", "bool")]
    return allow([(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *dtypes])
