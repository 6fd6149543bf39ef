"""nnInteractive (Isensee et al., 2025; PyPI ``nninteractive``) as the correction method.

Neither the package nor weights come with DeepSeg. The user brings the model's folder as published; the licence shown is
that of its ``LICENSE`` file. The published weights have CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from ..data.boxes import box_of, hull
from ..data.types import Affine, MaskArray, ScalarArray, Slices, VolumeArray
from ..models import ModelCard
from ..models.backends.nninteractive import broken, write_checked_copy
from ..util.atomic_write import cannot_write
from ..util.errors import ModelError
from ..util.staging import temporary_folder
from .rasterise import Seeds


class NnInteractive:
    """A loaded model, with the methods of :class:`~DeepSegLogic.refinement.prompted_network.PromptNetwork`.

    Args:
        card: of the model, whose folder is as published.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.

    Raises:
        ModelError: the package is missing, or the folder is incomplete or broken, or would run code.
        ResourceError: there is no such device.
    """

    def __init__(self, card: ModelCard, device: str = "auto") -> None:
        import torch

        from ..inference.device import choose_device, is_out_of_memory

        self.title, folder = card.title, card.installed_folder
        try:
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession as Session
        except ImportError as error:
            raise ModelError(
                f"The model {card.title} needs the Python package nninteractive, which is not installed.",
                "Install it into the Python that runs DeepSeg; docs/refine.md shows how.",
                code="model.nninteractive",
            ) from error
        with (
            temporary_folder() as copy,
            redirect_stdout(io.StringIO()),  # the package prints its progress
        ):
            try:
                write_checked_copy(folder, copy)
            except OSError as error:
                raise cannot_write(copy, error) from error
            self._session: Any = Session(device=choose_device(device), torch_n_threads=torch.get_num_threads())
            try:
                self._session.initialize_from_trained_model_folder(str(copy))
            except Exception as error:  # the parsers of nnU-Net raise all kinds of errors
                if is_out_of_memory(error):
                    raise
                raise broken(folder, str(error) or type(error).__name__) from error
        self.licence: str = self._session.license
        self._image: tuple[bytes, tuple[int, ...], str] | None = None  # what the session holds, told by its digest

    def require(self, structure: str) -> None:
        """Accept any structure: the model does not know their names."""

    def probability(
        self,
        image: VolumeArray,
        ijk_to_ras: Affine,
        centre: Slices,
        prompts: Sequence[tuple[Seeds, bool]],
        mask: MaskArray,
    ) -> tuple[Slices, ScalarArray]:
        """As ``PromptNetwork.probability``, but 0 or 1, in a box that contains all voxels that the model changes.

        The session keeps the last image and its buffers: a further prompt on it does not prepare them again.
        """
        session, answer = self._session, np.zeros(image.shape, np.uint8)
        image = np.ascontiguousarray(image)
        known, self._image = self._image, None  # where anything fails, the next call starts anew
        this = hashlib.blake2b(image.data).digest(), image.shape, image.dtype.str
        with redirect_stdout(io.StringIO()):
            if this == known:
                session.reset_interactions()
            else:
                session.set_image(image[None])
            session.set_target_buffer(answer)
            if mask.any():
                session.add_initial_seg_interaction(mask.astype(np.uint8))
            prompts = sorted(prompts, key=lambda one: one[0].box == centre)  # the model predicts around the last prompt
            for number, (seeds, positive) in enumerate(prompts, start=1):
                last = number == len(prompts)
                box = [[s.start, s.stop] for s in seeds.box]
                if seeds.mask.size == 1:
                    session.add_point_interaction([start for start, _ in box], positive, run_prediction=last)
                else:
                    drawn = seeds.mask.astype(np.uint8)
                    session.add_scribble_interaction(drawn, positive, run_prediction=last, interaction_bbox=box)
        self._image = this
        changed = box_of(answer != mask) or centre
        region = hull([changed, centre])
        return region, answer[region].astype(np.float32)
