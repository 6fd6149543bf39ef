"""The sum of the windows' outputs: a few rows along the slow axis, dropped as soon as they are complete."""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch

from ..util.disk_space import check_free_space
from ..util.staging import temporary_folder
from .memory_ladder import repeatable

_SPARE = 2  # rows that interpolation still needs when the next windows are added


class Accumulator:
    """Rows of summed logits, or features: (rows held, Y, X, C) float32, a sliding part of the whole (Z, Y, X, C).

    It holds no more rows than a patch is high, plus those that interpolation still needs. Channels are last, as in the
    output of networks in torch's channels-last layout: nothing is transposed, and the values of a voxel lie together.

    Args:
        channels: C.
        plane: (Y, X) voxels.
        device: holds the rows.
        on_disk: keep them in a memory-mapped temporary file, for machines with too little memory.
    """

    def __init__(self, channels: int, plane: Sequence[int], device: torch.device, on_disk: bool = False):
        self.base = 0  # row of the image that is the first one held
        self._channels, self._plane, self._device = channels, tuple(plane), device
        self._kept = ExitStack()
        self._folder = self._kept.enter_context(temporary_folder()) if on_disk else None
        self._files = 0
        self._rows, self._buffer = 0, self._allocate(0)

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows of the image that are held: (stop - start, Y, X, C)."""
        return self._buffer[start - self.base : stop - self.base]

    @repeatable
    def cover(self, stop: int) -> None:
        """Hold rows up to ``stop`` (exclusive); new ones are zero."""
        rows = stop - self.base
        if rows > len(self._buffer):
            self._reallocate(rows + _SPARE)
        if rows > self._rows:
            self._buffer[self._rows : rows] = 0
            self._rows = rows

    def drop(self, row: int) -> None:
        """Drop rows below ``row``; those above move down, since copying costs less than new memory."""
        gone = min(row - self.base, self._rows)
        if gone > 0:
            self._rows -= gone
            self.base += gone
            for at in range(0, self._rows, gone):
                stop = min(at + gone, self._rows)
                self._buffer[at:stop] = self._buffer[at + gone : stop + gone]

    def add(self, window: torch.Tensor, start: Sequence[int], share: Sequence[torch.Tensor]) -> None:
        """Add one window (C, Z, Y, X), weighted by the product of its three axis shares."""
        window = window.to(self._device, torch.float32).permute(1, 2, 3, 0)
        z, y, x = (weight.to(self._device) for weight in share)
        part = tuple(slice(s, s + n) for s, n in zip((start[0] - self.base, *start[1:]), window.shape[:3], strict=True))
        self._buffer[part].addcmul_(window, (z * y * x)[..., None])

    def move(self, device: torch.device, on_disk: bool = False) -> None:
        """Move the rows, from a full device to main memory, or from there to the disk."""
        self._device = device
        if on_disk and self._folder is None:
            self._folder = self._kept.enter_context(temporary_folder())
        self._reallocate(self._rows + _SPARE)

    def close(self) -> None:
        """Release memory and disk."""
        self._rows, self._buffer = 0, self._allocate(0)
        self._kept.close()

    def _reallocate(self, capacity: int) -> None:
        fresh = self._allocate(capacity)
        fresh[: self._rows] = self._buffer[: self._rows]
        self._buffer = fresh
        if self._folder is not None:  # only now: Windows does not delete a file that is mapped
            (self._folder / f"logits-{self._files - 1}").unlink(missing_ok=True)

    def _allocate(self, rows: int) -> torch.Tensor:
        shape = (rows, *self._plane, self._channels)
        if self._folder is None or rows == 0:
            return torch.empty(shape, dtype=torch.float32, device=self._device)
        # A mapped file takes its room page by page, and a page that finds none ends the process.
        check_free_space(self._folder, 4 * math.prod(shape), "Free some space there, or crop the volume.")
        self._files += 1
        path = self._folder / f"logits-{self._files}"
        try:
            return torch.from_numpy(np.memmap(path, np.float32, "w+", shape=shape))
        except OSError as error:
            if error.errno == errno.ENOMEM:  # address space is limited, as by a cluster's scheduler
                raise MemoryError(str(error)) from error
            raise
