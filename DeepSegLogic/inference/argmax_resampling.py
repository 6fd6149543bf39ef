"""Labels on the volume's own grid, from logits on the network's grid: interpolation and argmax in one.

The label of a voxel is the class with the largest interpolated logit, but not all classes are interpolated at all
voxels. The volume is cut into tiles. Where one class is the largest at every network voxel under a tile, it is the
largest everywhere in the tile, because interpolation weights are positive. Elsewhere, classes that are below another
one at every network voxel of the tile are left out. Both shortcuts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch

from .cpu_runtime import for_each
from .resampling import apply, columns_used

_CLOSE = 0.8
_ROWS = 8  # native rows interpolated at a time
_RIVALS = 4  # winners that classes are compared with; more of them rarely rule out another class


class Interpolator:
    """Interpolates logits from the network's grid to the native one, and takes the largest.

    Args:
        shape: (Z, Y, X) of the network's grid, without padding.
        native_shape: of the volume's grid.
        back: per axis the (native, network) matrix, on the CPU, or None where the grids agree.
        tile: edge of a tile in network voxels.
        regions: label value written by each channel, for overlapping outputs; None for exclusive ones.
    """

    def __init__(
        self,
        shape: Sequence[int],
        native_shape: Sequence[int],
        back: Sequence[torch.Tensor | None],
        tile: int,
        regions: Sequence[int] | None = None,
    ):
        self.native_shape = tuple(native_shape)
        self._back = list(back)
        self.support = [_support(m, n) for m, n in zip(back, native_shape, strict=True)]
        self._tiles = [list(_tiles(n, max(1, round(tile * n / s)))) for n, s in zip(native_shape, shape, strict=True)]
        self._tile_rows = max(1, round(tile * native_shape[0] / shape[0]))
        self._regions = regions
        # Cubic logits have negative weights, for which the shortcuts above would not be exact.
        self._convex = all(m is None or bool((m >= 0).all()) for m in self._back)

    def ready_rows(self, final: int) -> int:
        """How many native rows (slow axis) need only network rows below ``final``."""
        return int(torch.searchsorted(self.support[0][:, 1].contiguous(), final))

    def first_row_needed(self, native_row: int) -> int:
        """The lowest network row that native rows from ``native_row`` on need."""
        if native_row >= self.native_shape[0]:
            return int(self.support[0][-1, 1])
        return int(self.support[0][native_row:, 0].min())

    def label(self, logits: torch.Tensor, base: int, rows: range, out: torch.Tensor) -> None:
        """Write the labels of native ``rows`` to ``out``.

        Args:
            logits: (rows held, Y, X, C); its first row is network row ``base``.
            out: (native Z, Y, X) integer tensor on the CPU.
        """
        winners = largest(logits) if self._regions is None and self._convex else None
        back = [None if m is None else m.to(logits.device) for m in self._back]
        dtype = out.dtype if out.dtype == torch.uint8 else torch.int32  # the others that torch has few operators for

        def write(tile: tuple[slice, slice, slice]) -> None:
            source = [self._source(axis, t) for axis, t in enumerate(tile)]
            source[0] = slice(source[0].start - base, source[0].stop - base)
            out[tile] = self._label_tile(logits, winners, source, base, tile, back).to(dtype).cpu()

        tiles = product(_tiles(rows.stop, self._tile_rows, rows.start), self._tiles[1], self._tiles[2])
        if logits.device.type == "cpu":
            for_each(write, tiles)
        else:
            for tile in tiles:
                write(tile)

    def _source(self, axis: int, tile: slice) -> slice:
        held = self.support[axis][tile]
        return slice(int(held[:, 0].min()), int(held[:, 1].max()) + 1)

    def _label_tile(
        self,
        logits: torch.Tensor,
        winners: torch.Tensor | None,
        source: list[slice],
        base: int,
        tile: tuple[slice, slice, slice],
        back: list[torch.Tensor | None],
    ) -> torch.Tensor:
        block = logits[tuple(source)]
        if winners is not None:
            present: torch.Tensor
            present, counts = winners[tuple(source)].unique(return_counts=True)
            if present.numel() == 1:
                return present
            candidates = _undominated(block, present, counts)
            if len(candidates) < block.shape[3]:
                block = block.index_select(3, candidates)
        for axis in (2, 1):  # the slow axis last: its products are the widest, and there are the most of them
            matrix = back[axis]
            if matrix is not None:
                block = apply(matrix[tile[axis], source[axis]], block, axis)
        if back[0] is not None:
            rows = back[0][tile[0], source[0].start + base : source[0].stop + base]
            labels = torch.cat([self._chosen(part) for part in _products(rows, block)])
        else:
            labels = self._chosen(block)
        if winners is not None:
            labels = candidates[labels]
        return labels

    def _chosen(self, block: torch.Tensor) -> torch.Tensor:
        """The label of each voxel of (Z, Y, X, C), or the index of its class."""
        if self._regions is None:
            return largest(block)
        labels = torch.zeros(block.shape[:3], dtype=torch.int32, device=block.device)
        for channel, value in zip(block.unbind(-1), self._regions, strict=True):
            labels[channel > 0] = value
        return labels


def _products(matrix: torch.Tensor, block: torch.Tensor) -> Iterator[torch.Tensor]:
    """The product along the slow axis; on the CPU a few rows at a time, which are then still in its cache."""
    if block.device.type != "cpu":
        yield apply(matrix, block, 0)
        return
    for rows in matrix.split(_ROWS):
        columns = columns_used(rows)
        yield apply(rows[:, columns], block[columns], 0)


def largest(values: torch.Tensor) -> torch.Tensor:
    """``values.argmax(-1)``; numpy's is faster on the CPU."""
    return torch.from_numpy(values.numpy().argmax(-1)) if values.device.type == "cpu" else values.argmax(-1)


def _undominated(block: torch.Tensor, present: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Indices of the classes that are not below one of the commonest of ``present`` at all voxels of the block."""
    flat = block.flatten(0, 2)
    keep = torch.ones(flat.shape[1], dtype=torch.bool, device=flat.device)
    for winner in present[counts.argsort(descending=True)[:_RIVALS]]:
        keep &= (flat - flat[:, winner, None]).amax(0) > 0
        keep[present] = True
        if keep.sum() > _CLOSE * len(keep):  # so close that the next winner will not rule out many either
            break
    return keep.nonzero().flatten()


def _support(matrix: torch.Tensor | None, rows: int) -> torch.Tensor:
    """(rows, 2): first and last network index that each native index needs."""
    if matrix is None:
        return torch.arange(rows)[:, None].expand(-1, 2)
    used = (matrix != 0).to(torch.int8)
    return torch.stack([used.argmax(1), matrix.shape[1] - 1 - used.flip(1).argmax(1)], 1)


def _tiles(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    for at in range(start, stop, size):
        yield slice(at, min(at + size, stop))
