"""What a site's weights tell of its images, and how to limit it: clip and noise what leaves.

Sources: clipping and noise of a client's update (McMahan et al., ICLR 2018, arXiv:1710.06963), here by the site itself;
the exact epsilon of the Gaussian mechanism (Balle and Wang, ICML 2018, arXiv:1805.06530, theorem 8), which also holds
for several rounds (Dong et al., JRSS B 2022, arXiv:1905.02383, corollary 3.3).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from ...models.files import read_json
from ...util.atomic_write import atomic_path
from ...util.errors import InputError
from ...util.words import counted
from .exchange import is_variance, length

DELTA = 1e-5
_LARGEST_EPSILON = 1e6


@dataclass(frozen=True)
class Privacy:
    """How a site's updates are blurred.

    Attributes:
        clip: largest norm of an update, over all weights.
        noise: standard deviation of the noise on each weight, relative to ``clip``; 0 for none.
    """

    clip: float
    noise: float

    def applied(self, before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``before`` plus the clipped and noised way to ``after``.

        The noise is not that of the training's seed, which others could know, and is added before anything is rounded
        to float32. Weights that are not finite, whose way has no length to clip, are sent as they came. Noise does not
        make the variance of a batch norm less than a tenth of what it was: below 0 it would have no root.
        """
        steps = {name: (after[name].cpu().double() - before[name]).nan_to_num(0.0, 0.0, 0.0) for name in before}
        factor, rng = min(1.0, self.clip / max(length(steps.values()), 1e-12)), np.random.default_rng()
        sent = {}
        for name, step in steps.items():
            drawn = torch.from_numpy(rng.normal(0.0, 1.0, tuple(step.shape)))
            found = (before[name] + (factor * step + self.noise * self.clip * drawn)).float()
            sent[name] = torch.maximum(found, 0.1 * before[name]) if is_variance(name) else found
        return sent


def epsilon(spent: float, delta: float = DELTA) -> float:
    """The epsilon of (epsilon, delta)-differential privacy for all images of a site.

    Two data sets of a site, however different, give updates that are at most twice ``clip`` apart.

    Args:
        spent: sum over rounds of 1 / noise²; infinite for a round without noise.
        delta: of it.

    Example:
        >>> round(epsilon(10 * 1 / 8**2), 2)  # ten rounds with noise 8
        3.34
    """
    ratio = 2 * math.sqrt(spent)  # sensitivity over the deviation of the noise, as if there were one round
    if not ratio:
        return 0.0

    def excess(candidate: float) -> float:
        first, second = ratio / 2 - candidate / ratio, -ratio / 2 - candidate / ratio
        return float(norm.cdf(first) - math.exp(min(700.0, candidate + float(norm.logcdf(second))))) - delta

    if math.isinf(ratio) or excess(_LARGEST_EPSILON) > 0:
        return math.inf
    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, _LARGEST_EPSILON, xtol=1e-6))


class Ledger:
    """What the rounds of a site have spent, in a file that outlives the process.

    Raises:
        InputError: the file is damaged; with a count from 0 the epsilon would be too small.
    """

    def __init__(self, path: Path):
        self._path, self.rounds, self.spent = path, 0, 0.0
        if path.exists():
            try:
                facts = read_json(path)
                self.rounds, self.spent = int(facts["rounds"]), float(facts["spent"])
                if self.rounds < 0 or not self.spent >= 0:
                    raise ValueError("a negative count")
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise InputError(
                    f"The count of rounds {path} is damaged ({error}).",
                    "Choose another output; what was sent so far is then no longer counted.",
                    code="input.ledger",
                ) from error

    def count(self, noise: float) -> None:
        """Count a round, before its weights are sent."""
        self.rounds += 1
        self.spent += 1 / noise**2 if noise else math.inf
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps({"rounds": self.rounds, "spent": str(self.spent)}), "utf-8")

    def told(self) -> str:
        """What has been given away, in words."""
        value = epsilon(self.spent)
        bound = "no bound (a round without noise)" if math.isinf(value) else f"epsilon {value:.3g} at delta {DELTA:g}"
        return f"{counted(self.rounds, 'round')} sent, {bound}"
