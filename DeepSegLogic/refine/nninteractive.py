"""nnInteractive (Isensee et al., 2025; PyPI ``nninteractive``) in place of the solver.

Neither the package nor weights come with DeepSeg. The user brings the model's folder, as its publisher gives it, and
its own ``LICENSE`` is what is shown: that of the published weights is CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout

import numpy as np

from ..boxes import Slices, box_of
from ..errors import ModelError
from ..models import ModelCard
from ..models.nninteractive import broken, check
from .seeds import Seeds


class NnInteractive:
    """A loaded model; see :class:`~DeepSegLogic.refine.network.PromptNetwork`, which it can stand in for.

    Args:
        card: of the model; its folder is as its publisher gives it.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.

    Raises:
        ModelError: the package is missing, or the folder is incomplete, broken, or would run code of its own.
    """

    def __init__(self, card: ModelCard, device: str = "auto"):
        import torch

        from ..inference.device import choose_device, is_out_of_memory

        self.title, folder = card.title, card.folder
        try:
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession as Session
        except ImportError as error:
            raise ModelError(
                f"{card.title} is a model of nnInteractive, whose package is not installed.",
                "Run `pip install nninteractive` where DeepSeg is installed; "
                'in 3D Slicer, `slicer.util.pip_install("nninteractive")` in the Python console.',
                code="model.nninteractive",
            ) from error
        check(folder)
        with redirect_stdout(io.StringIO()):  # its talk is not ours
            self._session = Session(device=choose_device(device), torch_n_threads=torch.get_num_threads())
            try:
                self._session.initialize_from_trained_model_folder(str(folder))
            except Exception as error:  # nnU-Net raises whatever its parsers meet
                if is_out_of_memory(error):
                    raise
                raise broken(folder, str(error) or type(error).__name__) from error
        self.licence = self._session.license

    def require(self, structure: str) -> None:
        """It knows no structures by name, and so takes all."""

    def probability(
        self,
        image: np.ndarray,
        ijk_to_ras: np.ndarray,
        centre: Slices,
        told: Sequence[tuple[Seeds, bool]],
        mask: np.ndarray,
    ) -> tuple[Slices, np.ndarray]:
        """As :meth:`PromptNetwork.probability`, 0 or 1; the box holds all that it would change."""
        session, answer = self._session, np.zeros(image.shape, np.uint8)
        with redirect_stdout(io.StringIO()):
            session.set_image(np.ascontiguousarray(image)[None])
            session.set_target_buffer(answer)
            if mask.any():
                session.add_initial_seg_interaction(mask.astype(np.uint8))
            told = sorted(told, key=lambda one: one[0].box == centre)  # it looks around the last one
            for number, (seeds, positive) in enumerate(told, start=1):
                last = number == len(told)
                box = [[s.start, s.stop] for s in seeds.box]
                if seeds.mask.size == 1:
                    session.add_point_interaction([start for start, _ in box], positive, run_prediction=last)
                else:
                    drawn = seeds.mask.astype(np.uint8)
                    session.add_scribble_interaction(drawn, positive, run_prediction=last, interaction_bbox=box)
        changed = box_of(answer != mask) or centre
        region = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(changed, centre, strict=True))
        return region, answer[region].astype(np.float32)
