"""nnInteractive (Isensee et al., 2025; PyPI ``nninteractive``) in place of the solver.

Neither the package nor weights come with DeepSeg. The user brings the model's folder, as its publisher gives it, and
its own ``LICENSE`` is what is shown: that of the published weights is CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from ..boxes import Slices, box_of
from ..errors import ModelError
from .seeds import Seeds

MARKS = ("inference_info.json", "inference_session_class.json")  # files that only its model folders have
_CLASSES = "dynamic_network_architectures.architectures."


def is_folder(name: str | Path) -> bool:
    """Whether this is the folder of an nnInteractive model."""
    return any((Path(name).expanduser() / mark).is_file() for mark in MARKS)


class NnInteractive:
    """A loaded model; see :class:`~DeepSegLogic.refine.network.PromptNetwork`, which it can stand in for.

    Args:
        folder: of the model.
        device: see :func:`DeepSegLogic.inference.device.choose_device`.

    Raises:
        ModelError: the package is missing, or the folder is incomplete, broken, or would run code of its own.
    """

    title = "nnInteractive"

    def __init__(self, folder: str | Path, device: str = "auto"):
        import torch

        from ..inference.device import choose_device

        folder = Path(folder).expanduser()
        try:
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession as Session
        except ImportError as error:
            raise ModelError(
                f"{folder.name} is a model of nnInteractive, whose package is not installed.",
                "Run `pip install nninteractive` where DeepSeg is installed; "
                'in 3D Slicer, `slicer.util.pip_install("nninteractive")` in the Python console.',
                code="model.nninteractive",
            ) from error
        _check(folder)
        with redirect_stdout(io.StringIO()):  # its talk is not ours
            self._session = Session(device=choose_device(device), torch_n_threads=torch.get_num_threads())
            try:
                self._session.initialize_from_trained_model_folder(str(folder))
            except Exception as error:  # nnU-Net raises whatever its parsers meet
                raise _broken(folder, error) from error
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


def _check(folder: Path) -> None:
    """nnInteractive unpickles the weights and calls what the plans name: look first that this is no foreign code."""
    from ..models.weights import read_checkpoint

    for weights in folder.glob("fold_*/*.pth"):
        read_checkpoint(weights)
    try:
        plans = json.loads((folder / "plans.json").read_text("utf-8"))
        for configuration in plans["configurations"].values():
            architecture = configuration.get("architecture", {})
            arguments = architecture.get("arch_kwargs", {})
            imported = [arguments.get(name) for name in architecture.get("_kw_requires_import", [])]
            foreign = [name for name in imported if name and not name.startswith("torch.nn.modules.")]
            if foreign or not architecture.get("network_class_name", _CLASSES).startswith(_CLASSES):
                raise ModelError(
                    f"{folder / 'plans.json'} names code that is no network; nothing was run.",
                    "Get the model from its publisher, and do not use this folder.",
                    code="model.untrusted",
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(folder, error) from error


def _broken(folder: Path, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return ModelError(
        f"The nnInteractive model {folder} cannot be used ({reason}).", "Download it again.", code="model.corrupted"
    )
