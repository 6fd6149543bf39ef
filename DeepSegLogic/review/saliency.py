"""Grad-CAM, through ``monai.visualize``, and occlusion of one window of a network.

MONAI's occlusion indexes tensors in a way that torch gives up, and can neither be followed nor stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from ..data.affine import ijk_to_ras_points, ras_to_ijk
from ..data.boxes import matrix_of, size_of
from ..data.types import FloatArray
from ..inference.device import lay_out
from ..inference.preprocessing import Prepared
from ..inference.sliding_window import WindowGrid
from ..models.plan import Plan
from ..util.errors import InputError, ModelError
from ..util.progress import Cancel, Progress, check
from ..util.words import place_text

RADIUS_MM = 10.0
"""Of the sphere around a place, whose voxels are explained together."""
_LEAST = 6  # voxels along the sides of a layer that Grad-CAM looks at: fewer show no place
BLOCKS = 6  # that occlusion divides each side of the window into


class Window:
    """The window of a network around a place.

    Args:
        prepared, plan: of the network.
        at: the place, RAS in mm.
        name: of the volume, for messages.

    Attributes:
        ijk_to_ras: 4×4 from (X, Y, Z) indices of its voxels to RAS in mm.

    Raises:
        InputError: the place lies outside of what the network sees.
    """

    def __init__(self, prepared: Prepared, plan: Plan, at: Sequence[float], name: str):
        grid, patch = prepared.grid, plan.patch_size
        centre = np.rint(ras_to_ijk([at], grid.grid_to_ras)[0][::-1]).astype(int)
        if (centre < 0).any() or (centre >= grid.shape).any():
            raise InputError(
                f"The place {place_text(at)} lies outside of {name}.", "Name one inside, in RAS mm.", code="input.place"
            )
        starts = [int(np.clip(c - p // 2, 0, max(0, n - p))) for c, p, n in zip(centre, patch, grid.shape, strict=True)]
        z, y, x = (slice(s, min(s + p, n)) for s, p, n in zip(starts, patch, grid.shape, strict=True))
        padded = WindowGrid(size_of((z, y, x)), patch, 1.0)
        self._exclusive, self._temperature = plan.regions is None, plan.temperature
        self._image = padded.covered(prepared.image[:, z, y, x], plan.padding)[None]
        self.ijk_to_ras = matrix_of((z, y, x), grid.grid_to_ras)
        self.ijk_to_ras[:3, 3] -= self.ijk_to_ras[:3, :3] @ padded.first[::-1]
        indices = np.indices(self._image.shape[2:]).reshape(3, -1)[::-1].T
        far = np.linalg.norm(ijk_to_ras_points(indices, self.ijk_to_ras) - np.asarray(at, float), axis=1)
        inside = (far <= max(RADIUS_MM, far.min())).reshape(self._image.shape[2:])
        self._inside = torch.from_numpy(inside).to(prepared.image.device)

    def explained(
        self, network: nn.Module, channel: int, method: str, model_id: str, progress: Progress, cancel: Cancel
    ) -> tuple[float, FloatArray]:
        """The mean probability of a channel around the place, and what speaks for it: (Z, Y, X) in [0, 1].

        Raises:
            ModelError: see :func:`grad_cam`.
            Cancelled: ``cancel`` returned True.
        """
        total = 3 if method == "gradcam" else passes(self._image)
        done = 0

        def tell() -> None:
            nonlocal done
            check(cancel)
            progress("explain", min(1.0, done / total), f"pass {done + 1} of {total}")
            done += 1

        if method == "occlusion":
            network = lay_out(network, self._image.device)  # many passes, and no gradients
        own = self._temperature
        temperature = own[channel] if isinstance(own, tuple) else own
        score = Score(network.eval(), self._inside, channel, self._exclusive, tell, temperature)
        chance = probability(score, self._image)
        found = grad_cam(score, self._image, model_id) if method == "gradcam" else occlusion(score, self._image)
        return chance, found.cpu().numpy().astype(np.float64)


class Score(nn.Module):
    """The mean output of a network for one structure over some voxels: what a classifier gives, (N, 1).

    Args:
        network: from (N, C, Z, Y, X) to logits (N, channels, Z, Y, X).
        inside: (Z, Y, X) bool, the voxels.
        channel: of the structure.
        exclusive: whether the channels exclude each other (softmax).
        tell: is called before each pass.
        temperature: divides the logits before they become probabilities.
    """

    def __init__(
        self,
        network: nn.Module,
        inside: torch.Tensor,
        channel: int,
        exclusive: bool,
        tell: Callable[[], object],
        temperature: float = 1.0,
    ):
        super().__init__()
        self.network, self.chances = network, False
        self._inside, self._channel, self._exclusive, self._tell = inside, channel, exclusive, tell
        self._temperature = temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean logit; the mean probability if ``chances`` is set."""
        self._tell()
        logits = self.network(x).float()
        if self.chances:
            logits = logits / self._temperature
            logits = logits.softmax(1) if self._exclusive else logits.sigmoid()
        score: torch.Tensor = logits[:, self._channel : self._channel + 1, self._inside].mean(-1)
        return score


@torch.no_grad()
def probability(score: Score, window: torch.Tensor) -> float:
    """The mean probability of the structure in a window (1, C, Z, Y, X)."""
    score.chances = True
    return float(score(window))


def grad_cam(score: Score, window: torch.Tensor, model_id: str) -> torch.Tensor:
    """Grad-CAM of a window (1, C, Z, Y, X) at its coarsest layer of :data:`_LEAST` voxels: (Z, Y, X) in [0, 1].

    Raises:
        ModelError: the network has no convolutions that can be looked at.
    """
    from monai.visualize import GradCAM

    score.chances = False
    layer = _layer(score, window)
    if layer is None:
        raise ModelError(
            f"Grad-CAM cannot look into {model_id}: its layers are hidden, as those of TorchScript are, or it has too "
            "few.",
            "Use occlusion, which needs only the output.",
            code="model.layers",
        )
    for module in score.modules():  # gradients need the values that these would overwrite
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    cam = GradCAM(score, target_layers=layer, postprocessing=lambda found: found)
    found: torch.Tensor = cam(window.clone().requires_grad_(), class_idx=0)[0, 0].detach()
    return found / found.max().clamp_min(1e-12)


@torch.inference_mode()
def occlusion(score: Score, window: torch.Tensor) -> torch.Tensor:
    """How far the probability falls if a block of a window (1, C, Z, Y, X) gives way to the mean of its surroundings:
    (Z, Y, X) in [0, 1], interpolated between the blocks."""
    score.chances = True
    before, sides = score(window), window.shape[2:]
    cuts = [np.linspace(0, n, min(n, BLOCKS) + 1).astype(int) for n in sides]
    falls = window.new_zeros([len(c) - 1 for c in cuts])
    blurred = window
    for axis, n in enumerate(sides):  # the mean over about a block on each side
        width = [1, 1, 1]
        width[axis] = 2 * (n // BLOCKS) + 1
        blurred = nn.functional.avg_pool3d(blurred, width, 1, [w // 2 for w in width], count_include_pad=False)
    for place in np.ndindex(*falls.shape):
        z, y, x = (slice(c[i], c[i + 1]) for c, i in zip(cuts, place, strict=True))
        changed = window.clone()
        changed[:, :, z, y, x] = blurred[:, :, z, y, x]
        falls[place] = (before - score(changed)).clamp(0, 1).item()
    return nn.functional.interpolate(falls[None, None], tuple(sides), mode="trilinear")[0, 0]


def passes(window: torch.Tensor) -> int:
    """How often the network runs for an occlusion map."""
    return 2 + int(np.prod([min(n, BLOCKS) for n in window.shape[2:]]))


@torch.no_grad()
def _layer(score: Score, window: torch.Tensor) -> str | None:
    """The name of the convolution to look at: of those with the coarsest output that still has enough voxels, the last
    one that runs. Not the very last: it only sums up."""
    ran: list[tuple[str, int]] = []
    axes = [axis for axis in (2, 3, 4) if window.shape[axis] > 1]  # a 2D network has two

    def note(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: ran.append((name, min(output.shape[axis] for axis in axes)))

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in score.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
    ]
    try:
        score(window)
    finally:
        for hook in hooks:
            hook.remove()
    del ran[-1:]
    enough = [side for _, side in ran if side >= _LEAST] or [side for _, side in ran]
    return next((name for name, side in reversed(ran) if side == min(enough)), None)
