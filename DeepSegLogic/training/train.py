"""The training of the bundled model, on synthetic and real CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..models.plan import Normalization
from ..models.weights import read_checkpoint
from ..networks.table import unet_architecture
from ..networks.unet import build_unet
from .cases import Case
from .loop import CHECKPOINT, Training
from .losses import dice_and_cross_entropy
from .optimization import Options, Size
from .planning import TrainingPlan
from .samples import LOWER, MEAN, SD, UPPER, Samples


@dataclass(frozen=True)
class Settings:
    """What a training is about.

    Attributes:
        classes: names in label order; the first one is background.
        spacing: mm, the same along all axes.
        patch: voxels (Z, Y, X).
        features: channels per stage of the U-Net, fine to coarse; stages halve the grid.
        kernels: width of the convolutions per stage. One voxel at the finest, which takes most of the time else,
            leaves all that is spatial there to the way down and up.
        encoder, decoder: convolutions per stage; the decoder's go from coarse to fine.
        rate: highest learning rate of AdamW.
        average: decay of the running average of the weights, which is what is kept.
        seed: of weights and samples.
    """

    classes: tuple[str, ...]
    spacing: float
    patch: tuple[int, int, int]
    features: tuple[int, ...]
    kernels: tuple[int, ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    rate: float = 1e-3
    average: float = 0.998
    seed: int = 0

    def plan(self) -> TrainingPlan:
        """As a plan of nnU-Net describes it."""
        stages = len(self.features)
        architecture = unet_architecture(
            "PlainConvUNet",
            features_per_stage=list(self.features),
            kernel_sizes=[[k] * 3 for k in self.kernels],
            strides=[[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            n_conv_per_stage=list(self.encoder),
            n_conv_per_stage_decoder=list(self.decoder),
        )
        return TrainingPlan(
            network="unet",
            structures=self.classes[1:],
            modality="CT",
            spacing=(self.spacing, self.spacing, self.spacing),
            patch=self.patch,
            batch=1,
            normalization=Normalization("ct", LOWER, UPPER, MEAN, SD),
            architecture=architecture,
            shape=self.patch,
            separate_z=False,
        )


def learning_rate(step: int, steps: int, rate: float) -> float:
    """Up in 100 steps, level, and down to nothing in the last third: so the end may be moved while it is level."""
    return rate * min(1.0, (step + 1) / 100, 3 * (steps - step) / steps)


def with_classes(
    weights: dict[str, torch.Tensor], classes: Sequence[str], wanted: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Weights of a network for ``classes`` as those for the classes ``wanted``; what is new begins at zero."""
    result = dict(weights)
    for name, tensor in weights.items():
        if ".seg_layers." in name:
            rows = [tensor[classes.index(c)] if c in classes else torch.zeros_like(tensor[0]) for c in wanted]
            result[name] = torch.stack(rows)
    return result


def train(
    cases: list[Case],
    settings: Settings,
    folder: Path,
    steps: int,
    start_from: Path | None = None,
    every: float = 180.0,
) -> dict[str, torch.Tensor]:
    """Train until ``steps``, from where the checkpoint in ``folder`` stopped.

    Args:
        start_from: without such a checkpoint, that of another training to begin with; its patches, spacing and classes
            may be others.
        every: seconds between two checkpoints.

    Returns:
        the averaged weights.
    """
    torch.manual_seed(settings.seed)
    network = build_unet(settings.plan().architecture, 1, len(settings.classes))
    if start_from is not None and not (folder / CHECKPOINT).is_file():
        state = read_checkpoint(start_from)
        network.load_state_dict(with_classes(state["average"], state["settings"]["classes"], settings.classes))
    tables = [case.table(list(settings.classes)).T.contiguous() for case in cases]

    def loss(logits: torch.Tensor, labels: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        parts = [
            dice_and_cross_entropy(one.flatten(1), tables[number][:, seen.flatten().long()])
            for one, seen, number in zip(logits, labels, numbers, strict=True)
        ]
        return torch.stack(parts).mean()

    def schedule(step: int, steps: int) -> float:
        return learning_rate(step, steps, 1.0)

    options = Options(
        steps=steps,
        rate=settings.rate,
        schedule=schedule,
        decay=1e-4,
        clip=5.0,
        average=settings.average,
        batch=1,
        half=False,
        seed=settings.seed,
        every=every,
    )

    def samples(patch: Size) -> Samples:
        return Samples(cases, settings.patch, settings.spacing, settings.seed)

    training = Training(
        network, samples, loss, folder, settings.patch, options=options, facts={"settings": asdict(settings)}
    )
    return training.run().weights
