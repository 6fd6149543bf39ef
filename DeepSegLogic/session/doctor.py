"""Checks of this machine: packages, devices, memory, models, leftovers."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..util.errors import Action, ModelError
from ..util.packages import can_import
from ..util.words import counted

PACKAGES = ("torch", "numpy", "SimpleITK", "vtk", "scipy", "slicerio", "trimesh", "monai")
_OPTIONAL = {"monai": "MONAI bundles"}


@dataclass
class Check:
    """One checked item.

    Attributes:
        topic: what was checked.
        fact: the result.
        remedy: what to do; empty if all is well.
        action: how DeepSeg itself can help, as in :class:`~DeepSegLogic.util.errors.DeepSegError`.
    """

    topic: str
    fact: str
    remedy: str = ""
    action: Action | None = None


def examine(*results: Path) -> list[Check]:
    """Check versions, devices, memory, disk and models, and clear what interrupted runs left.

    Args:
        results: folders of results to clear, too, with all folders in them.
    """
    from ..util.version import __version__

    return [
        Check("DeepSeg", __version__),
        Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in PACKAGES),
        _device(),
        *_memory(),
        _models(),
        *_leftovers(results),
    ]


def _package(name: str) -> Check:
    if can_import(name):
        try:
            return Check(name, version(name))
        except PackageNotFoundError:  # Slicer's own packages carry no metadata
            return Check(name, "present")
    if name in _OPTIONAL:
        return Check(name, f"not installed (only for {_OPTIONAL[name]})")
    return Check(name, "missing", f"Install {name} with pip for {sys.executable}.")


def _device() -> Check:
    if not can_import("torch"):
        return Check("Device", "unknown without torch")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Check("Device", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}")
    if torch.backends.mps.is_available():
        return Check("Device", "Apple GPU (MPS)")
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        return Check(
            "Device",
            "CPU only, although this machine has an NVIDIA GPU: the installed torch is a CPU build",
            "Install a CUDA build of torch (in Slicer: the PyTorch extension, Install PyTorch).",
        )
    if shutil.which("nvidia-smi"):
        return Check("Device", "CPU only: torch does not see the GPU", "Update the NVIDIA driver; check nvidia-smi.")
    return Check("Device", f"CPU, {counted(torch.get_num_threads(), 'thread')} (no GPU found)")


def _memory() -> list[Check]:
    import psutil

    from ..models.store import Store

    ram = psutil.virtual_memory()
    remedy = "" if ram.available > 4e9 else "Close other programs: a run needs 4 GB or more."
    checks = [Check("Memory", f"{ram.available / 1e9:.1f} of {ram.total / 1e9:.1f} GB free", remedy)]
    root, elsewhere = Store().root, "set DEEPSEG_MODELS to another folder."
    existing = next((p for p in (root, *root.parents) if p.exists()), None)
    if existing is None:  # a drive that is not connected
        return [*checks, Check("Model folder", f"{root} is not there", f"Connect its disk, or {elsewhere}")]
    free = shutil.disk_usage(existing).free
    remedy = "" if free > 5e9 else "Free disk space: models need up to a few GB."
    if not os.access(existing, os.W_OK):
        remedy = f"You cannot write there: {elsewhere}"
    return [*checks, Check("Model folder", f"{root}, {free / 1e9:.0f} GB free", remedy)]


def _models() -> Check:
    from ..models.find import damaged_models, models_here
    from ..models.store import Store

    names, damaged = list(models_here()), damaged_models()
    wrong: list[ModelError] = list(damaged.values())
    try:
        Store().check_records()
    except ModelError as error:
        wrong.append(error)
    remedy = " ".join(map(str, wrong))
    found = ", ".join([*names, *(f"{name} (damaged)" for name in damaged)])
    if not found and not remedy:
        return Check("Models", "none", "Install one.", "choose_model")
    return Check("Models", found or "none", remedy)


def _leftovers(results: Iterable[Path]) -> list[Check]:
    from ..models.store import Store
    from ..util.staging import sweep_below, sweep_temporary
    from ..worker import shared_memory as shared

    told = [*sweep_temporary(), *Store().sweep(), *(s for folder in results for s in sweep_below(folder))]
    if freed := shared.sweep():
        told.append(f"{freed} unused blocks of shared memory were freed.")
    return [Check("Leftovers", sentence) for sentence in told or ["none from interrupted runs"]]
