"""Whether a network's input looks like what it was trained on: its intensities, and the features of one layer.

What the training saw is in the model's card, as ``training_statistics``; without it nothing is computed. Both are
taken from the input as the network sees it, so that scanner and voxel size of the volume are already accounted for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.boxes import box_of
from ..data.types import FloatArray
from ..models.plan import Normalization
from ..util.words import minus_text

TISSUE_HU = -300.0
"""From here on a voxel of a CT counts as tissue, unless its value was clipped; of other images from their mean on."""
WORDS = {
    "dark": "the darkest tissue is {}",
    "middle": "the median of the tissue is {}",
    "bright": "the brightest tissue is {}",
    "noise": "the noise is {}",
}
"""The statistics of the intensities: 5th, 50th and 95th percentile of the tissue, and the median difference of
neighbouring voxels of it, as the standard deviation of noise that would give it."""
_SAMPLE = 2**17  # voxels that are looked at
_OF_TRAINING = 0.99  # share of the training's windows within ``limit``
_SLACK = 0.1  # of a range's width, on both sides


@dataclass(frozen=True)
class TrainingStatistics:
    """What a network saw in training.

    Attributes:
        ranges: lowest and highest value of each of :data:`WORDS`, in HU for CT, else as normalised.
        layer: name of the module whose features were looked at; empty for none.
        mean, sd: of its channels, each averaged over a window.
        limit: distance (:meth:`distance`) within which nearly all windows of the training lie.
    """

    ranges: Mapping[str, tuple[float, float]]
    layer: str = ""
    mean: Sequence[float] = ()
    sd: Sequence[float] = ()
    limit: float = 1.0

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> TrainingStatistics | None:
        """As a card has them; None if it has none that can be used."""
        ranges = {name: (float(low), float(high)) for name, (low, high) in facts.get("ranges", {}).items()}
        known = cls(
            {name: ranges[name] for name in WORDS if name in ranges},
            facts.get("layer", ""),
            tuple(facts.get("mean", ())),
            tuple(facts.get("sd", ())),
            facts.get("limit", 1.0),
        )
        usable = len(known.mean) == len(known.sd) and (known.ranges or known.layer)
        return known if usable else None

    @classmethod
    def of(
        cls, images: Iterable[torch.Tensor], network: nn.Module, rule: Normalization, layer: str = ""
    ) -> TrainingStatistics:
        """From what a network is trained on.

        Args:
            images: (C, Z, Y, X) float32, normalised, that the network takes, on the CPU; some hundred.
            rule: normalisation of the first channel.
            layer: see above.
        """
        found: dict[str, list[float]] = {name: [] for name in WORDS}
        with torch.inference_mode(), watched(network, layer) as features:
            for image in images:
                box = box_of(image[0].numpy() != 0)  # without the padding of patches that are larger than the subject
                for name, value in intensities(image[(slice(None), *(box or ()))], rule).items():
                    found[name].append(value)
                if layer:
                    network(image[None])
        # Of some hundred, one or two may be of nothing but air, or of a metal implant.
        ranges = {n: tuple(np.round(np.percentile(v, (1, 99)), 2).tolist()) for n, v in found.items() if v}
        if not features:
            return cls(ranges)
        rows = torch.cat(features).double().numpy()
        mean, sd = rows.mean(0), np.maximum(rows.std(0), 1e-6)
        limit = float(np.quantile(_distances(rows, mean, sd), _OF_TRAINING))
        return cls(ranges, layer, np.round(mean, 5).tolist(), np.round(sd, 6).tolist(), round(limit, 4))

    def as_json(self) -> dict[str, Any]:
        """For a card."""
        return asdict(self) | {"ranges": {name: list(pair) for name, pair in self.ranges.items()}}

    def distance(self, features: Sequence[torch.Tensor]) -> float | None:
        """How far windows are from the training, in units of ``limit``: the median over the windows of the root mean
        square of the standardised features (Lee et al., NeurIPS 2018, with a diagonal covariance); None if unknown.

        Args:
            features: from :func:`watched`.
        """
        rows = torch.cat([f.cpu() for f in features]).double().numpy() if features else np.empty((0, 0))
        if not len(rows) or rows.shape[1] != len(self.mean):
            return None
        return float(np.median(_distances(rows, np.asarray(self.mean), np.asarray(self.sd)))) / self.limit

    def reasons(self, image: torch.Tensor, rule: Normalization, features: Sequence[torch.Tensor]) -> list[str]:
        """Why an input looks unlike the training, in words; empty if it does not.

        Args:
            image: (C, Z, Y, X) float32, normalised.
            rule: normalisation of the first channel.
            features: from :func:`watched`, of its windows.
        """
        form, unit, step = (".0f", " HU", 1.0) if rule.scheme == "ct" else (".2f", "", 0.01)
        reasons = []
        for name, value in intensities(image, rule).items():
            low, high = self.ranges.get(name, (-np.inf, np.inf))
            slack = max(step, _SLACK * (high - low)) if np.isfinite(high - low) else 0.0
            if not low - slack <= value <= high + slack:
                told, *known = (minus_text(number, form) + unit for number in (value, low, high))
                reasons.append(f"{WORDS[name].format(told)} (in training {' to '.join(known)})")
        distance = self.distance(features)
        if distance is not None and distance > 1:
            reasons.append(f"its features are {distance:.1f} times as far off as those of nearly all training images")
        return reasons

    def warning(
        self, image: torch.Tensor, rule: Normalization, features: Sequence[torch.Tensor], modality: str | None
    ) -> list[str]:
        """A sentence with the :meth:`reasons`; none if there are none."""
        reasons, what = self.reasons(image, rule, features), modality or "volume"
        return [f"This {what} is outside what the model was trained on: {'; '.join(reasons)}."] if reasons else []


def intensities(image: torch.Tensor, rule: Normalization) -> dict[str, float]:
    """The statistics of :data:`WORDS` of an input (C, Z, Y, X); empty if it has hardly any tissue."""
    step = max(1, round((image[0].numel() / _SAMPLE) ** 0.5))
    rows = image[0, ::step, ::step].float()  # whole rows, for the differences
    scale, shift = (rule.sd, rule.mean) if rule.scheme == "ct" else (1.0, 0.0)
    values = rows * scale + shift
    # Many models clip at a higher value than -300 HU, which air and fat then share.
    tissue = values >= (max(TISSUE_HU, rule.lower + 1) if rule.scheme == "ct" else values.mean())
    both = tissue[..., 1:] & tissue[..., :-1]
    if both.sum() < 100:
        return {}
    dark, middle, bright = np.percentile(values[tissue].cpu().numpy(), (5, 50, 95)).tolist()
    noise = float((values[..., 1:] - values[..., :-1])[both].abs().median()) * 1.4826 / 2**0.5
    return {"dark": dark, "middle": middle, "bright": bright, "noise": noise}


@contextmanager
def watched(network: nn.Module, layer: str) -> Iterator[list[torch.Tensor]]:
    """In the ``with`` block, the features of a layer are noted: (N, channels), averaged over each window.

    The list stays empty if the network has no such layer, or if that gives no single tensor.
    """
    found: list[torch.Tensor] = []
    module = dict(network.named_modules()).get(layer) if layer else None

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 5:
            found.append(output.detach().float().mean((2, 3, 4)))

    hook = module.register_forward_hook(note) if module is not None else None
    try:
        yield found
    finally:
        if hook is not None:
            hook.remove()


def _distances(rows: FloatArray, mean: FloatArray, sd: FloatArray) -> FloatArray:
    distances: FloatArray = np.sqrt((((rows - mean) / sd) ** 2).mean(1))
    return distances
