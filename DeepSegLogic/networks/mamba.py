"""A U-Net with state-space blocks (Mamba-2), whose scan is plain PyTorch and linear in the number of voxels.

Sources: Dao and Gu, Transformers are SSMs, ICML 2024, arXiv:2405.21060 (the block and its scan in chunks); Ma et al.,
U-Mamba, arXiv:2401.04722 (in a U-Net, on the flattened voxels).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .unet import ConvStack

_CUBE, _ONE, _TWO = (3, 3, 3), (1, 1, 1), (2, 2, 2)
_HEAD, _STATE, _CHUNK = 16, 16, 64


def scan(x: torch.Tensor, decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The state-space recurrence ``h[t] = exp(decay[t]) h[t-1] + b[t] x[t]``, ``y[t] = c[t] · h[t]``, in chunks.

    Args:
        x: (N, L, heads, channels).
        decay: (N, L, heads), not above 0.
        b, c: (N, L, state), shared by all heads.

    Returns:
        (N, L, heads, channels).
    """
    length = x.shape[1]
    padding = -length % _CHUNK
    x, decay, b, c = (functional.pad(t, (*[0, 0] * (t.ndim - 2), 0, padding)) for t in (x, decay, b, c))
    x, decay, b, c = (t.unflatten(1, (-1, _CHUNK)) for t in (x, decay, b, c))
    total = decay.cumsum(2)  # (N, chunks, Q, heads)
    between = total[:, :, :, None] - total[:, :, None]  # from s to l
    later = torch.ones(_CHUNK, _CHUNK, dtype=torch.bool, device=x.device).tril()[..., None]
    weight = between.masked_fill(~later, -torch.inf).exp() * torch.einsum("zkln,zksn->zkls", c, b)[..., None]
    inside = torch.einsum("zklsh,zkshp->zklhp", weight, x)
    left = (total[:, :, -1:] - total).exp()
    added = torch.einsum("zksn,zksh,zkshp->zkhpn", b, left, x)
    kept, state, before = total[:, :, -1].exp()[..., None, None], torch.zeros_like(added[:, 0]), list[torch.Tensor]()
    for chunk in range(added.shape[1]):
        before.append(state)
        state = kept[:, chunk] * state + added[:, chunk]
    carried = torch.einsum("zkln,zklh,zkhpn->zklhp", c, total.exp(), torch.stack(before, 1))
    return (inside + carried).flatten(1, 2)[:, :length]


class StateSpace(nn.Module):
    """A Mamba-2 block on the voxels in their order, or in the reverse one; (N, C, Z, Y, X) to the same."""

    def __init__(self, channels: int, reverse: bool):
        super().__init__()
        self.reverse, self.inner = reverse, 2 * channels
        self.heads = self.inner // _HEAD
        self.norm = nn.LayerNorm(channels)
        self.entry = nn.Linear(channels, 2 * self.inner + 2 * _STATE + self.heads)
        self.local = nn.Conv1d(self.inner + 2 * _STATE, self.inner + 2 * _STATE, 4, groups=self.inner + 2 * _STATE)
        self.rate = nn.Parameter(torch.log(torch.linspace(1, 16, self.heads)))
        self.step = nn.Parameter(torch.log(torch.expm1(torch.logspace(-3, -1, self.heads))))
        self.through = nn.Parameter(torch.ones(self.heads))
        self.last = nn.LayerNorm(self.inner)
        self.exit = nn.Linear(self.inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens.flip(1) if self.reverse else tokens
        gate, mixed, step = self.entry(self.norm(tokens)).split([self.inner, self.inner + 2 * _STATE, self.heads], -1)
        mixed = functional.silu(self.local(functional.pad(mixed.transpose(1, 2), (3, 0)))).transpose(1, 2).float()
        values, b, c = mixed.split([self.inner, _STATE, _STATE], -1)
        values, step = values.unflatten(-1, (self.heads, _HEAD)), functional.softplus(step.float() + self.step)
        with torch.autocast(x.device.type, enabled=False):  # sums of many small steps
            y = scan(values * step[..., None], -self.rate.exp() * step, b, c) + self.through[:, None] * values
        y = self.exit(self.last(y.flatten(2)) * functional.silu(gate))
        y = y.flip(1) if self.reverse else y
        result: torch.Tensor = x + y.transpose(1, 2).unflatten(2, x.shape[2:])
        return result


class MambaUNet(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 16.

    Args:
        classes: output channels.
        width: channels at the finest stage; a multiple of 8.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, width: int, inputs: int = 1):
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8, 16)]
        self.encoder, self.spaces = nn.ModuleList(), nn.ModuleList()
        for number, (before, after) in enumerate(zip([inputs, *channels], channels, strict=False)):
            self.encoder.append(ConvStack(2, before, after, _CUBE, _TWO if number else _ONE, False, 1e-5))
            blocks = [StateSpace(after, reverse) for reverse in (False, True)] if number > 1 else []
            self.spaces.append(nn.Sequential(*blocks))
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for before, after in zip(channels[:0:-1], channels[-2::-1], strict=True):
            self.up.append(nn.ConvTranspose3d(before, after, 2, 2))
            self.decoder.append(ConvStack(2, 2 * after, after, _CUBE, _ONE, False, 1e-5))
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for stage, spaces in zip(self.encoder, self.spaces, strict=True):
            x = spaces(stage(x))
            skips.append(x)
        x = skips.pop()
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        y: torch.Tensor = self.head(x)
        return y
