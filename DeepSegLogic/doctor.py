"""What of this machine matters to DeepSeg, and what to mend."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

PACKAGES = ("torch", "numpy", "SimpleITK", "vtk", "scipy", "slicerio", "trimesh", "monai")
_OPTIONAL = {"monai": "MONAI bundles"}


@dataclass
class Finding:
    """One line of the report.

    Attributes:
        topic, fact: what was looked at and what was found.
        remedy: what to do about it; empty when all is well.
    """

    topic: str
    fact: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at versions, devices, memory, disk and models. Holds no paths of patients' data."""
    from . import __version__

    return [
        Finding("DeepSeg", __version__),
        Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in PACKAGES),
        _device(),
        *_memory(),
        _models(),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        if find_spec(name) is not None:  # Slicer's own packages carry no metadata
            return Finding(name, "present")
        if name in _OPTIONAL:
            return Finding(name, f"not installed (only for {_OPTIONAL[name]})")
        return Finding(name, "missing", f"Install it: {sys.executable} -m pip install {name}")


def _device() -> Finding:
    if find_spec("torch") is None:
        return Finding("Device", "unknown without torch")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("Device", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}")
    if torch.backends.mps.is_available():
        return Finding("Device", "Apple GPU (MPS)")
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        return Finding(
            "Device",
            "CPU only, although this machine has an NVIDIA GPU: the installed torch is a CPU build",
            "Install a CUDA build of torch (in Slicer: the PyTorch extension, Install PyTorch).",
        )
    if shutil.which("nvidia-smi"):
        return Finding("Device", "CPU only: torch does not see the GPU", "Update the NVIDIA driver; check nvidia-smi.")
    return Finding("Device", f"CPU, {torch.get_num_threads()} threads (no GPU found)")


def _memory() -> list[Finding]:
    import psutil

    from .models.store import Store

    ram = psutil.virtual_memory()
    remedy = "" if ram.available > 4e9 else "Close other programs: runs want 4 GB and more."
    findings = [Finding("Memory", f"{ram.available / 1e9:.1f} of {ram.total / 1e9:.1f} GB free", remedy)]
    root = Store().root
    existing = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    remedy = "" if free > 5e9 else "Make room: models need up to a few GB."
    if not os.access(existing, os.W_OK):
        remedy = "You may not write there: name another folder in DEEPSEG_MODELS."
    return [*findings, Finding("Model folder", f"{root}, {free / 1e9:.0f} GB free", remedy)]


def _models() -> Finding:
    from .models.registry import models_here
    from .models.store import Store

    names = list(models_here())
    remedy = " ".join(map(str, Store().broken()))
    if not names and not remedy:
        remedy = "Get one: deepseg models list, deepseg models download NAME."
    return Finding("Models", ", ".join(names) or "none", remedy)
