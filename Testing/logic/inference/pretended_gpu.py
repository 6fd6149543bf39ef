"""A GPU that is none: tensors in main memory that say they lie on it, and refuse what a GPU's tensors refuse.

With it the path of a GPU runs with real numbers where there is no GPU, from the volume to the labels, so that devices
that are mixed up are found. (torch's FakeTensorMode has shapes, but no numbers: it stops at the first value that is
looked at.) Half precision, speed and memory are not pretended.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA, MPS = torch.device("cuda"), torch.device("mps")
_MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({})"
_NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."


class OnGpu(torch.Tensor):
    """A tensor that says it lies on the GPU."""

    home = CUDA

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


class PretendedGpu(TorchFunctionMode):
    """While it lasts, tensors can be made on ``device`` and moved there."""

    def __init__(self, device: torch.device = CUDA):
        super().__init__()
        OnGpu.home = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


def _call(func, args, kwargs):
    name = getattr(func, "__name__", "")
    if name == "__get__" and func.__self__.__name__ in ("device", "is_cuda"):
        place = OnGpu.home if isinstance(args[0], OnGpu) else torch.device("cpu")
        return place if func.__self__.__name__ == "device" else place.type == "cuda"
    if name in ("_parse_to", "_set_grad_enabled"):
        return func(*args, **kwargs)
    if name == "_has_compatible_shallow_copy_type":  # modules then take moved parameters instead of their data
        return isinstance(args[0], OnGpu) == isinstance(args[1], OnGpu)
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    on_gpu = any(isinstance(t, OnGpu) for t in tensors)
    if name in ("numpy", "__array__") and on_gpu:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
    moved_to, args, kwargs = _target(name, args, kwargs)
    _check(name, args, tensors)
    result = func(*args, **kwargs)
    if moved_to is not None:
        if tensors and (moved_to.type != "cpu") != on_gpu:  # between devices there is always a copy
            result = result.clone().as_subclass(torch.Tensor)
        on_gpu = moved_to.type != "cpu"
    elif name in ("copy_", "__setitem__"):
        return result
    return tree_map_only(torch.Tensor, _placed, result) if on_gpu else result


def _target(name, args, kwargs):
    """The device that a call names, and the call with the CPU in its place."""
    place = "cpu" if name == "cpu" else kwargs.get("device")
    if name == "to":
        place = next((a for a in args if isinstance(a, (str, torch.device))), place)
        place = next((OnGpu.home if isinstance(a, OnGpu) else "cpu" for a in args[1:] if torch.is_tensor(a)), place)
        args = ["cpu" if isinstance(a, (str, torch.device)) else a for a in args]
    if place is None:
        return None, args, kwargs
    return torch.device(place), args, {k: "cpu" if k == "device" else v for k, v in kwargs.items()}


def _check(name, args, tensors) -> None:
    """Refuse tensors of both devices, with CUDA's exceptions."""
    if name in ("__getitem__", "__setitem__"):
        held, (index, *value) = args[0], args[1:]
        indices = [t for t in tree_leaves(index) if isinstance(t, torch.Tensor)]
        if any(isinstance(t, OnGpu) for t in indices) and not isinstance(held, OnGpu):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if not indices:  # a plain copy, which may go from one to the other
            return
        tensors = [held, *(v for v in value if isinstance(v, torch.Tensor))]
    if name in ("copy_", "to", "__set__"):
        return
    # A number may come from the CPU, but not go there.
    if len({isinstance(t, OnGpu) for t in tensors if t.ndim or isinstance(t, OnGpu)}) > 1:
        raise RuntimeError(_MIXED.format(name))


def _placed(tensor: torch.Tensor) -> torch.Tensor:
    if OnGpu.home.type == "mps" and tensor.dtype == torch.float64:
        raise TypeError(_NO_FLOAT64)
    return tensor if isinstance(tensor, OnGpu) else tensor.as_subclass(OnGpu)
