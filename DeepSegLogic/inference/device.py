"""The device that runs the network, and how networks and windows are laid out there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from ..util.device_names import check_device_name
from ..util.errors import ResourceError
from .cpu_layers import replace_slow_layers

Setting = tuple[Any, str, Any]  # of torch: owner, name, value

_lock = threading.Lock()  # of `reproducible`, as the next two
_users: list[object] = []
_before: list[Setting] = []
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
    "unable to find an engine",  # cuDNN, where no algorithm's working memory can be had
    "could not create a primitive",  # oneDNN
)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The torch device for ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``; a device is its own name.

    Raises:
        UsageError: not the name of a device.
        ResourceError: this machine, or this torch, lacks that device.
    """
    name = str(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    check_device_name(name)
    kind, _, index = name.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            raise ResourceError(
                "The installed torch cannot use a GPU: it is a CPU build.",
                "Install a CUDA build of torch, or use the CPU.",
                code="resource.no_gpu",
                action="choose_device",
                device="cpu",
            )
        raise ResourceError(
            "No CUDA GPU was found.",
            "Check the driver with nvidia-smi, or use the CPU.",
            code="resource.no_gpu",
            action="choose_device",
            device="cpu",
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise ResourceError(
            f"There is no GPU number {index}.",
            f"This machine has {torch.cuda.device_count()}; the first is cuda:0.",
            code="resource.no_gpu",
            action="choose_device",
            device="cuda:0",
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ResourceError(
            "This machine has no Apple GPU (MPS).",
            "Use the CPU.",
            code="resource.no_gpu",
            action="choose_device",
            device="cpu",
        )
    return torch.device(name)


def lay_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, in the memory layout in which it runs fastest there."""
    if device.type == "cpu":
        replace_slow_layers(network)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.to(device)
    for parameter in network.parameters():
        if parameter.ndim == 5:  # `Module.to` would try it on those of four axes, too, which cannot have this layout
            parameter.data = parameter.data.contiguous(memory_format=layout(device))
    return network.eval()


def layout(device: torch.device) -> torch.memory_format:
    """How windows and weights lie in memory: channels last, except on Apple's GPU, whose 3D operators do not use it."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last_3d


def precision(device: torch.device, half_on_cpu: bool = False) -> torch.dtype:
    """What networks compute in: float16 on CUDA; if requested, bfloat16 on a CPU that multiplies it; else float32."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if half_on_cpu and device.type == "cpu" and _multiplies_bfloat16() else torch.float32


def _multiplies_bfloat16() -> bool:
    """Whether the CPU has AVX-512 BF16 or AMX. Others emulate it, up to 25 times slower than float32."""
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch 2.6 to 2.13 have no public ones
    return any(getattr(torch.cpu, question, lambda: False)() for question in questions)


@contextmanager
def reproducible() -> Iterator[None]:
    """Within it, the same input gives the same numbers on a GPU, and float32 is not rounded to TF32.

    cuDNN then chooses its algorithms by rule, not by trying which is fastest (whose outcome varies, and which briefly
    takes more memory than the run does), and only deterministic ones. The process's own settings are restored when the
    last of several concurrent runs ends.
    """
    user = object()
    with _lock:
        if not _users:
            _before[:] = _reproducible_settings()
        _users.append(user)
    try:
        yield
    finally:
        with _lock:
            _users.remove(user)
            if not _users:
                for owner, name, value in _before:
                    setattr(owner, name, value)


def _reproducible_settings() -> list[Setting]:
    """Apply them, and return the former ones."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[Setting] = [(cudnn, "benchmark", False), (cudnn, "deterministic", True), (cudnn, "allow_tf32", False)]
    if hasattr(cudnn, "conv"):  # newer names, from torch 2.9 on
        wanted += [(owner, "fp32_precision", "ieee") for owner in (cudnn.conv, cudnn.rnn, matmul)]
    else:
        wanted += [(matmul, "allow_tf32", False)]
    before: list[Setting] = []
    for owner, name, _ in wanted:
        with suppress(RuntimeError):  # torch refuses the older names once the program has used the newer ones
            before.append((owner, name, getattr(owner, name)))
    readable = {(id(owner), name) for owner, name, _ in before}
    for owner, name, value in wanted:
        if (id(owner), name) in readable:
            setattr(owner, name, value)
    return before


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, oneDNN or Python ran out of memory, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OUT_OF_MEMORY)


def lacks_operator(error: BaseException) -> bool:
    """Whether torch lacks an operator on a GPU, or a type (Apple's GPU), that it has on the CPU."""
    return isinstance(error, NotImplementedError) or "mps" in str(error).lower()
