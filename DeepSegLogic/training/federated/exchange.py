"""Weights on their way between a server and its sites: plain numbers, checked before they are used."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

LARGEST = 512 * 2**20
"""Bytes of the weights of a network, at most."""
SLACK = 2**20
"""Bytes of a message beside them."""


@dataclass(frozen=True)
class Layout:
    """Which numbers travel: the tensors of floats of a network, in the order in which it has them.

    Counters, such as those of batch norms, stay where they are.

    Attributes:
        shapes: by name of the tensor.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, network: nn.Module) -> Layout:
        """The layout of a network, which may be on the device ``meta``."""
        state = network.state_dict()
        return cls({name: tuple(tensor.shape) for name, tensor in state.items() if tensor.is_floating_point()})

    @property
    def size(self) -> int:
        """Bytes on their way."""
        return sum(4 * math.prod(shape) for shape in self.shapes.values())

    @property
    def kind(self) -> str:
        """What tells a message of this layout from others: a digest of names and shapes."""
        text = json.dumps([[name, list(shape)] for name, shape in self.shapes.items()])
        return f"float32 {hashlib.sha256(text.encode()).hexdigest()}"

    def pack(self, weights: Mapping[str, torch.Tensor]) -> list[bytes]:
        """The numbers of each tensor, little-endian."""
        return [weights[name].detach().float().cpu().numpy().astype("<f4").tobytes() for name in self.shapes]

    def unpack(self, tensors: Sequence[bytes], kind: str) -> dict[str, torch.Tensor]:
        """The tensors of a message from elsewhere.

        Raises:
            ValueError: they are of another network, a number is not finite, or a variance of a batch norm is negative.
        """
        if kind != self.kind or len(tensors) != len(self.shapes):
            raise ValueError("weights of another network")
        found = {}
        for (name, shape), content in zip(self.shapes.items(), tensors, strict=True):
            if len(content) != 4 * math.prod(shape):
                raise ValueError(f"{name} has another size")
            values = np.frombuffer(content, "<f4").astype(np.float32)
            if not np.isfinite(values).all():
                raise ValueError(f"{name} has numbers that are not finite")
            if is_variance(name) and (values < 0).any():
                raise ValueError(f"{name} has negative variances")
            found[name] = torch.from_numpy(values.reshape(shape))
        return found


def is_variance(name: str) -> bool:
    """Whether a tensor of this name has the variances of a batch norm, of which the root is taken."""
    return name.endswith("running_var")


def length(tensors: Iterable[torch.Tensor]) -> float:
    """The Euclidean norm over all numbers of some tensors."""
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def put_into(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Replace the tensors of a network that travelled."""
    network.load_state_dict({**network.state_dict(), **weights})
