"""A network that takes prompts, in place of the solver: MONAI DeepEdit and its like.

It is a TorchScript or ``state_dict`` model (:mod:`DeepSegLogic.models.torchscript`) whose card says
``"guidance": {"sigma": 3}`` in ``network``. The input has three channels: the image, positive prompts and negative
prompts, each of these a Gaussian of ``sigma`` voxels around every voxel that a prompt marks, scaled to [0, 1]
(Diaz-Pinto et al., DeepEdit, 2022; ``AddGuidanceSignalDeepEditd`` of MONAI). The output is one channel (sigmoid) or
background and foreground (softmax). ``structures`` are those that it knows; ``["foreground"]`` is any.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..boxes import Slices, matrix_of
from ..errors import ModelError, UsageError
from ..geometry import ijk_to_ras_points, ras_to_ijk, sampled, spacing_of
from ..models import Model, find_model, load_model
from ..models.card import PROMPTED
from .nninteractive import NnInteractive
from .seeds import Seeds

ANY = ["foreground"]


def prompt_network(name: str, device: str = "auto") -> PromptNetwork | NnInteractive:
    """A model that takes prompts, by its id or folder, loaded.

    Raises:
        ModelError: there is none, it is broken or not trusted, or takes no prompts.
    """
    card = find_model(name)
    return NnInteractive(card, device) if card.backend == PROMPTED else PromptNetwork(load_model(card), device)


class PromptNetwork:
    """A loaded model that answers prompts.

    Args:
        model: see :func:`DeepSegLogic.models.load_model`.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.

    Raises:
        ModelError: the model takes no prompts.
    """

    def __init__(self, model: Model, device: str = "auto"):
        from ..inference.device import choose_device, lay_out

        guidance = model.card.network.get("guidance")
        sigma = guidance.get("sigma") if isinstance(guidance, dict) else None
        if not isinstance(sigma, int | float) or sigma <= 0:
            raise ModelError(
                f"The model {model.card.id} takes no prompts.",
                'Its card must say "guidance": {"sigma": 3} in "network", see docs/refine.md.',
                code="model.prompts",
            )
        self.title, self.licence = model.card.title, model.card.licence
        self.card, self._plan, self._sigma = model.card, model.plan, sigma
        self._device = choose_device(device)
        self._network = lay_out(model.networks[0], self._device)

    def require(self, structure: str) -> None:
        """Raise :class:`UsageError` unless the network knows the structure."""
        if self.card.structures != ANY and structure not in self.card.structures:
            raise UsageError(
                f"The model {self.card.id} does not know {structure}.",
                f"It knows {', '.join(self.card.structures)}.",
                code="usage.structure",
            )

    def probability(
        self,
        image: np.ndarray,
        ijk_to_ras: np.ndarray,
        centre: Slices,
        told: Sequence[tuple[Seeds, bool]],
        mask: np.ndarray,
    ) -> tuple[Slices, np.ndarray]:
        """What the network says around a prompt.

        Args:
            image: (K, J, I), whole, with its 4×4 matrix.
            centre: box whose middle the network's window is laid around.
            told: seeds of all prompts of the structure, and whether each is positive.
            mask: (K, J, I) bool, whole: the structure as it is. This kind of network does not look at it.

        Returns:
            (K, J, I) slices: the window and ``centre``, as far as the image reaches; and float32 of their shape,
            the probability of the structure, NaN where the window does not reach.

        Raises:
            ModelError: the network does not fit its card.
        """
        middle = np.array([(s.start + s.stop - 1) / 2 for s in centre[::-1]])
        window = self._window(ijk_to_ras, ijk_to_ras_points(middle[None], ijk_to_ras)[0])
        patch = self._plan.patch_size
        answer = self._run(
            sampled(image, ijk_to_ras, patch, window, cval=float(image.min())),
            self._signal([seeds for seeds, positive in told if positive], ijk_to_ras, window),
            self._signal([seeds for seeds, positive in told if not positive], ijk_to_ras, window),
        )
        region = _reached(window, patch, image.shape, ijk_to_ras, centre)
        shape = tuple(s.stop - s.start for s in region)
        return region, sampled(answer, window, shape, matrix_of(region, ijk_to_ras), cval=np.nan)

    def _window(self, ijk_to_ras: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """4×4 from (X, Y, Z) indices of the network's window to RAS; its middle is at a point in RAS."""
        from ..inference.preprocessing import network_view

        _, matrix = network_view(np.empty((1, 1, 1), np.uint8), ijk_to_ras, self._plan)
        window = np.eye(4)
        window[:3, :3] = matrix[:3, :3] / spacing_of(matrix) * self._plan.spacing[::-1]
        window[:3, 3] = middle - window[:3, :3] @ ((np.array(self._plan.patch_size[::-1]) - 1) // 2)
        return window

    def _signal(self, seeds: list[Seeds], ijk_to_ras: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Gaussians around the seeds in the window, (Z, Y, X) float32 in [0, 1]."""
        from scipy.ndimage import gaussian_filter

        signal = np.zeros(self._plan.patch_size, np.float32)
        for one in seeds:
            ijk = np.argwhere(one.mask)[:, ::-1] + [s.start for s in one.box[::-1]]
            zyx = np.rint(ras_to_ijk(ijk_to_ras_points(ijk, ijk_to_ras), window)).astype(int)[:, ::-1]
            signal[tuple(zyx[((zyx >= 0) & (zyx < signal.shape)).all(1)].T)] = 1
        if not signal.any():
            return signal
        signal = gaussian_filter(signal, self._sigma, mode="constant")
        return (signal - signal.min()) / (signal.max() - signal.min())

    def _run(self, image: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
        import torch

        from ..inference.device import is_out_of_memory
        from ..inference.preprocessing import normalised

        grey = normalised(torch.from_numpy(image), self._plan.normalization)
        channels = torch.stack([grey, torch.from_numpy(positive), torch.from_numpy(negative)])
        try:
            with torch.inference_mode():
                logits = self._network(channels[None].to(self._device))[0].float()
        except RuntimeError as error:  # torch says so for every shape that does not fit
            if is_out_of_memory(error):
                raise
            raise self._misfit(str(error).strip().splitlines()[-1]) from error
        if logits.shape[1:] != image.shape or len(logits) > 2:
            raise self._misfit(f"its answer has the shape {tuple(logits.shape)}")
        odds = logits[0] if len(logits) == 1 else logits[1] - logits[0]
        return torch.sigmoid(odds).cpu().numpy()

    def _misfit(self, what: str) -> ModelError:
        return ModelError(
            f"The model {self.card.id} does not take an image with two channels of prompts: {what}.",
            'Correct "network" in its card, or leave "guidance" out; docs/refine.md shows how.',
            code="model.prompts",
        )


def _reached(window: np.ndarray, patch, shape, ijk_to_ras: np.ndarray, centre: Slices) -> Slices:
    """The box of the image's voxels that a window and ``centre`` hold."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in patch[::-1]])).reshape(3, -1).T
    kji = ras_to_ijk(ijk_to_ras_points(ends, window), ijk_to_ras)[:, ::-1]
    low = np.minimum(np.ceil(kji.min(0)), [s.start for s in centre])
    high = np.maximum(np.floor(kji.max(0)) + 1, [s.stop for s in centre])
    return tuple(slice(int(max(0, a)), int(min(n, b))) for a, b, n in zip(low, high, shape, strict=True))
