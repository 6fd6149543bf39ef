"""Labels and confidence, written a band at a time from complete rows of logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeGuard

import numpy as np
import torch
from torch import nn

from ..data.label_map import label_dtype
from ..data.types import LabelArray, Shape
from ..models.plan import Plan
from .accumulator import Accumulator
from .argmax_resampling import Interpolator
from .confidence import ConfidenceMeter
from .cpu_layers import pointwise
from .grid_plan import GridPlan
from .memory_ladder import repeatable

# Edge in network voxels. Small tiles save work and memory, since all classes of a tile are interpolated to the volume's
# grid; large ones save kernel launches. With Apple's GPU the logits lie on the CPU.
TILE = {"cpu": 12, "cuda": 32}


class WithHead(Protocol):
    """A network whose last layer, 1×1×1, can be applied apart: ``head(features(x))`` is its output."""

    @property
    def head(self) -> nn.Module: ...

    def features(self, x: torch.Tensor) -> torch.Tensor: ...


def has_head(network: nn.Module) -> TypeGuard[WithHead]:
    """Whether a network is :class:`WithHead`. Since Python 3.12 protocols do not see the parts of a module."""
    return isinstance(getattr(network, "head", None), nn.Module) and callable(getattr(network, "features", None))


def deferred_head(networks: Sequence[nn.Module], plan: Plan) -> nn.Conv3d | None:
    """The network's last layer, where it is better applied to the sum of the windows than to each of them.

    A 1×1×1 convolution is linear and the windows' shares sum to one, so the sum of the logits equals the logits of the
    sum. A large model has fewer features than classes, so there is less to hold and to sum. None where it has fewer
    classes, where several networks are averaged, and for networks that are not :class:`WithHead`.
    """
    network = networks[0]
    if len(networks) > 1 or not has_head(network):
        return None
    head = network.head
    return head if isinstance(head, nn.Conv3d) and head.in_channels < plan.channels else None


class LabelWriter:
    """Writes the labels and the confidence of a run.

    Args:
        first: (Z, Y, X) of the first voxel asked for, in what the accumulator covers.
        device: holds the accumulated rows.
        head: turns accumulated features into logits; None where logits are accumulated.
        keep_probabilities: see :class:`~.confidence.ConfidenceMeter`.
        meter: that class, or one that also keeps something else.

    Attributes:
        labels: (Z, Y, X) uint8 or uint16 on the volume's grid.
        meter: probabilities of the labels.
        written: rows of ``labels`` that are final.
    """

    def __init__(
        self,
        plan: Plan,
        grid: GridPlan,
        first: Shape,
        device: torch.device,
        head: nn.Conv3d | None,
        keep_probabilities: bool,
        meter: type[ConfidenceMeter] = ConfidenceMeter,
    ):
        self.labels: LabelArray = np.zeros(grid.native_shape, label_dtype(plan.highest))
        self.meter = meter(plan, grid.asked_shape, grid.grid_to_ras, keep_probabilities)
        self.written = 0
        self._first, self._rows, self._head = first[0], grid.asked_shape[0], head
        self._plane = tuple(slice(b, b + n) for b, n in zip(first[1:], grid.asked_shape[1:], strict=True))
        self._band = TILE[device.type]
        self._interpolator = Interpolator(grid.asked_shape, grid.native_shape, grid.back, self._band, plan.regions)

    def bands(self, stop: int) -> Iterator[int]:
        """The ends of the bands up to row ``stop`` of the accumulator."""
        stop = min(stop - self._first, self._rows)
        start = self._start()
        yield from range(start + self._band, stop, self._band)
        if stop > start:
            yield stop

    @repeatable
    def write(self, accumulator: Accumulator, stop: int) -> None:
        """Write the labels that need no rows from ``stop`` (of those asked for) on."""
        start = self._start()
        held = accumulator.rows(self._first + start, self._first + stop)[(slice(None), *self._plane)]
        logits = held if self._head is None else pointwise(held, self._head.weight, self._head.bias)
        self.meter.add(logits, start, stop)
        ready = self._interpolator.ready_rows(stop)
        if ready > self.written:
            rows = range(self.written, ready)
            self._interpolator.label(logits, start, rows, torch.from_numpy(self.labels))
            self.written = ready

    def first_row_needed(self) -> int:
        """The lowest row of the accumulator that is still needed."""
        return self._first + self._start()

    def _start(self) -> int:
        return min(self._interpolator.first_row_needed(self.written), self.meter.seen)
