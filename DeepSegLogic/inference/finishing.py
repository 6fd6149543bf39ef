"""Complete rows of the network's grid become labels and confidence, a band at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from ..labels import label_dtype
from .accumulator import Accumulator
from .confidence import ConfidenceMeter
from .labelling import Interpolator
from .layers import pointwise
from .plan import Plan
from .preprocessing import Prepared

# Edge in network voxels: small ones save work and memory (all classes of a tile lie on the volume's grid), large ones
# launches. With Apple's GPU the logits are the CPU's.
TILE = {"cpu": 12, "cuda": 32}


def deferred_head(networks: Sequence[nn.Module], plan: Plan) -> nn.Module | None:
    """The network's last layer, where it is better applied to the sum of the windows than to each of them.

    A 1×1×1 convolution is linear and the windows' shares sum to one, so that the sum of the logits is the logits of
    the sum; but features are fewer than the classes of a large model: less to hold, and to sum. Left in its place
    (None) where classes are fewer, where several networks are averaged, and where the network does not tell.
    """
    head = getattr(networks[0], "head", None)
    if len(networks) > 1 or head is None or head.in_channels >= plan.channels:
        return None
    return head


class Finisher:
    """Labels and confidence of what is asked for.

    Args:
        before: where the box asked for begins in what the accumulator covers.
        device: where the accumulated rows lie.
        head: makes logits of them; None where they are logits.
        keep_probabilities: see :class:`~.confidence.ConfidenceMeter`.

    Attributes:
        labels: (Z, Y, X) uint8 or uint16 on the volume's grid.
        meter: what the network believed.
        written: rows of ``labels`` that are final.
    """

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        before: Sequence[int],
        device: torch.device,
        head: nn.Module | None,
        keep_probabilities: bool,
    ):
        self.labels = np.zeros(prepared.native_shape, label_dtype(max(plan.labels, default=0)))
        self.meter = ConfidenceMeter(plan, prepared.shape, prepared.grid_to_ras, keep_probabilities)
        self.written = 0
        self._first, self._rows, self._head = before[0], prepared.shape[0], head
        self._plane = tuple(slice(b, b + n) for b, n in zip(before[1:], prepared.shape[1:], strict=True))
        self._band = TILE[device.type]
        self._interpolator = Interpolator(
            prepared.shape,
            prepared.native_shape,
            prepared.back,
            self._band,
            plan.regions,
        )

    def bands(self, stop: int) -> Iterator[int]:
        """Where to stop, one band after the other, on the way to row ``stop`` of the accumulator."""
        stop = min(stop - self._first, self._rows)
        start = self._start()
        yield from range(start + self._band, stop, self._band)
        if stop > start:
            yield stop

    def finish(self, accumulator: Accumulator, stop: int) -> None:
        """Label what needs no rows from ``stop`` on (of those asked for). May be repeated where memory ran out."""
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
