"""Networks that take prompts, such as MONAI's DeepEdit, as the correction method.

Such a network is a TorchScript or ``state_dict`` model (:mod:`DeepSegLogic.models.backends.torchscript`) whose card has
``"guidance": {"sigma": 3}`` in ``network``. Its input has three channels: the image, the positive prompts and the
negative prompts. Each prompt channel has a Gaussian of ``sigma`` voxels around every voxel that a prompt marks, scaled
to [0, 1] (Diaz-Pinto et al., DeepEdit, 2022; ``AddGuidanceSignalDeepEditd`` of MONAI). The output is one channel
(sigmoid) or background and foreground (softmax). ``structures`` are those that it knows; ``["foreground"]`` stands for
any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..data.affine import ijk_to_ras_points, ras_to_ijk, sampled, spacing_ijk
from ..data.boxes import between, matrix_of, size_of
from ..data.types import Affine, FloatArray, MaskArray, ScalarArray, Shape, Slices, VolumeArray
from ..models import Model, ModelCard, find_model, load_model
from ..util.errors import ModelError, UsageError, last_line
from .nninteractive import NnInteractive
from .rasterise import Seeds

ANY = ["foreground"]
SESSIONS: Mapping[str, Callable[[ModelCard, str], NnInteractive]] = {"nninteractive": NnInteractive}
"""Backends whose own package answers prompts: what makes the network from a card and a device."""


def prompt_network(name: str, device: str = "auto") -> PromptNetwork | NnInteractive:
    """Load a model that takes prompts, by its id or folder.

    Raises:
        ModelError: there is no such model, it is broken or not trusted, or it takes no prompts.
        ResourceError: there is no such device.
    """
    card = find_model(name)
    session = SESSIONS.get(card.backend)
    return PromptNetwork(load_model(card), device) if session is None else session(card, device)


class PromptNetwork:
    """A loaded model that takes prompts.

    Args:
        model: see :func:`DeepSegLogic.models.load_model`.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.

    Raises:
        ModelError: the model takes no prompts.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        from ..inference.device import choose_device, lay_out

        guidance = model.card.network.get("guidance")
        sigma = guidance.get("sigma") if isinstance(guidance, dict) else None
        if not isinstance(sigma, int | float) or sigma <= 0 or model.plan is None:
            raise ModelError(
                f"The model {model.card.id} takes no prompts.",
                'Its card must have "guidance": {"sigma": 3} in "network", see docs/refine.md.',
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
        image: VolumeArray,
        ijk_to_ras: Affine,
        centre: Slices,
        prompts: Sequence[tuple[Seeds, bool]],
        mask: MaskArray,
    ) -> tuple[Slices, ScalarArray]:
        """Probability of a structure around a prompt.

        Args:
            image: the whole image, (K, J, I).
            ijk_to_ras: of the image, 4×4, mm.
            centre: box in the middle of the network's window.
            prompts: seeds of all prompts of the structure, and whether each is positive.
            mask: the present structure in the whole image, (K, J, I) bool; unused by this kind of network.

        Returns:
            The box that holds the window and ``centre``, clipped to the image, (K, J, I); and the probability in it,
            (K, J, I) float32, NaN outside the window.

        Raises:
            ModelError: the network does not fit its card.
        """
        middle = np.array([(s.start + s.stop - 1) / 2 for s in centre[::-1]])
        window = self._window(ijk_to_ras, ijk_to_ras_points(middle[None], ijk_to_ras)[0])
        patch = self._plan.patch_size
        answer = self._run(
            sampled(image, ijk_to_ras, patch, window, cval=float(image.min())),
            self._signal([seeds for seeds, positive in prompts if positive], ijk_to_ras, window),
            self._signal([seeds for seeds, positive in prompts if not positive], ijk_to_ras, window),
        )
        region = _reached(window, patch, image.shape, ijk_to_ras, centre)
        found = sampled(answer, window, size_of(region), matrix_of(region, ijk_to_ras), cval=np.nan)
        return region, found.astype(np.float32, copy=False)

    def _window(self, ijk_to_ras: Affine, middle: FloatArray) -> Affine:
        """4×4 from (X, Y, Z) indices in the network's window to RAS, for a window whose middle is at a point in RAS."""
        from ..inference.grid_plan import network_view

        _, matrix = network_view(np.empty((1, 1, 1), np.uint8), ijk_to_ras, self._plan)
        window = np.eye(4)
        window[:3, :3] = matrix[:3, :3] / spacing_ijk(matrix) * self._plan.spacing[::-1]
        window[:3, 3] = middle - window[:3, :3] @ ((np.array(self._plan.patch_size[::-1]) - 1) // 2)
        return window

    def _signal(self, seeds: list[Seeds], ijk_to_ras: Affine, window: Affine) -> ScalarArray:
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
        scaled: ScalarArray = (signal - signal.min()) / (signal.max() - signal.min())
        return scaled

    def _run(self, image: VolumeArray, positive: ScalarArray, negative: ScalarArray) -> ScalarArray:
        """Probability in the window, (Z, Y, X) float32 as the inputs."""
        import torch

        from ..inference.device import is_out_of_memory
        from ..inference.preprocessing import normalized

        grey = normalized(torch.from_numpy(image)[None], self._plan)
        channels = torch.stack([grey[0], torch.from_numpy(positive), torch.from_numpy(negative)])
        try:
            with torch.inference_mode():
                logits = self._network(channels[None].to(self._device))[0].float()
        except RuntimeError as error:  # torch raises it for shapes that do not fit
            if is_out_of_memory(error):
                raise
            raise self._misfit(last_line(error)) from error
        if logits.shape[1:] != image.shape or len(logits) > 2:
            raise self._misfit(f"its output has the shape {tuple(logits.shape)}")
        odds = logits[0] if len(logits) == 1 else logits[1] - logits[0]
        probability: ScalarArray = torch.sigmoid(odds).cpu().numpy()
        return probability

    def _misfit(self, what: str) -> ModelError:
        return ModelError(
            f"The model {self.card.id} does not take an image with two channels of prompts: {what}.",
            'Correct "network" in its card, or leave "guidance" out; docs/refine.md shows how.',
            code="model.prompts",
        )


def _reached(window: Affine, patch: Shape, shape: Shape, ijk_to_ras: Affine, centre: Slices) -> Slices:
    """The box of the image that holds a window and ``centre``."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in patch[::-1]])).reshape(3, -1).T
    kji = ras_to_ijk(ijk_to_ras_points(ends, window), ijk_to_ras)[:, ::-1]
    low = np.minimum(np.ceil(kji.min(0)), [s.start for s in centre])
    high = np.maximum(np.floor(kji.max(0)) + 1, [s.stop for s in centre])
    return between((int(max(0, a)) for a in low), (int(min(n, b)) for b, n in zip(high, shape, strict=True)))
