"""The networks of a model over one volume."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np
import torch

from ..boxes import matrix_of
from ..labels import label_dtype
from ..models import Model
from ..progress import Cancel, Progress, check
from ..volume import Volume
from .device import is_out_of_memory, lacks_operator
from .engine import Engine, raise_explained
from .memory import RunEstimate, estimate_run
from .parts import SharedInput, renamed_top
from .plan import Plan
from .preprocessing import Boxes, Prepared, network_view, prepare
from .probabilities import TopProbabilities
from .quality import Quality

log = logging.getLogger(__name__)


class VolumeRun:
    """The networks of a model over one volume, one after the other; later ones win where two mark a voxel.

    Args:
        wanted: names by label value of the structures to mark.
        region: (K, J, I) bool, where to mark them; None for everywhere.
        keep_probabilities: see :func:`DeepSegLogic.pipeline.segment`.
        uncertainty: whether to make that map.
        clock: told the time of each stage.

    Attributes:
        labels: (K, J, I) on the volume's grid.
        uncertainty: as :attr:`DeepSegLogic.pipeline.Result.uncertainty`.
        confidence, boundary_margin, warnings: as in the result.
        tops: the probabilities kept of each network.
        estimates: of each network, with the settings that it ended with.
    """

    def __init__(
        self,
        volume: Volume,
        model: Model,
        wanted: dict[int, str],
        quality: Quality,
        device: torch.device,
        clock: Clock,
        *,
        region: np.ndarray | None = None,
        keep_probabilities: bool = False,
        uncertainty: bool = False,
    ):
        self.volume, self.model, self.wanted, self.quality, self.device = volume, model, wanted, quality, device
        self.clock, self.region, self.keep_probabilities = clock, region, keep_probabilities
        self.labels = np.zeros(volume.shape, label_dtype(max(model.labels, default=0)))
        self.uncertainty = np.zeros(volume.shape, np.uint8) if uncertainty else None
        self.confidence: dict[str, float] = {}
        self.boundary_margin: dict[str, float] = {}
        self.warnings: list[str] = []
        self.tops: list[TopProbabilities] = []
        self.estimates: list[RunEstimate] = []
        self._boxes = Boxes(volume, quality.air, region)
        self._shared = SharedInput(volume, device, self._boxes)

    @property
    def described(self) -> str:
        """The last network's settings, in words."""
        return self.estimates[-1].settings.describe()

    def all_parts(self, progress: Progress, cancel: Cancel) -> None:
        names = set(self.wanted.values())
        cards = self.model.cards_for(names)
        for number, card in enumerate(cards):
            check(cancel)
            self._on_some_device(self.model.part(card), _share(progress, number, len(cards), card.id), cancel)
        if self.region is not None:
            for marked in (self.labels, self.uncertainty):
                if marked is not None:
                    np.copyto(marked, 0, where=~self.region)

    def _on_some_device(self, part: Model, progress: Progress, cancel: Cancel) -> None:
        try:
            return self._one(part, progress, cancel)
        except (RuntimeError, TypeError, MemoryError) as error:
            if self.device.type == "cpu" or not (is_out_of_memory(error) or lacks_operator(error)):
                raise
            log.warning("%s cannot run %s", self.device, part.card.id, exc_info=error)
            short = "Memory of the GPU ran short" if is_out_of_memory(error) else "The GPU lacks what this model needs"
            reason = str(error).splitlines()[0]
        self.warnings.append(f"{short}; the CPU is used, and is slower. ({reason})")
        self.device = torch.device("cpu")
        self._shared = SharedInput(self.volume, self.device, self._boxes)
        self._one(part, progress, cancel)

    def _one(self, part: Model, progress: Progress, cancel: Cancel) -> None:
        self.clock.lap("load model")
        plan = part.plan
        if plan.orientation is None:
            self.warnings.append(
                f"The model {part.card.id} does not say how its training images were oriented; the volume is used as "
                f"it lies ({self.volume.orientation}). State the orientation in a card.json if results look wrong."
            )
        progress("preprocess", 0.0, "resampling")
        estimate = estimate_run(self.volume, part.networks, plan, self.quality, self.device, self._boxes)
        try:
            prepared = self._prepared(part)
        except (RuntimeError, MemoryError) as error:
            if self.device.type != "cpu" and is_out_of_memory(error):
                raise
            raise_explained(error, estimate.settings)
        progress("preprocess", 1.0, "resampling")
        self.clock.lap("preprocess")
        check(cancel)

        engine = Engine(
            part.networks,
            plan,
            estimate.settings,
            step=self.quality.step,
            mirror=self.quality.mirror,
            half_on_cpu=self.quality.half_on_cpu,
            keep_probabilities=self.keep_probabilities or self.uncertainty is not None,
        )
        prediction = engine.run(prepared, progress, cancel)
        self.clock.lap("inference")
        self.warnings += prediction.warnings
        self.estimates.append(replace(estimate, settings=engine.settings))

        values = self._values_of(plan.labels)
        marked = np.where(np.isin(values, list(self.wanted)), values, 0)[prediction.labels]
        view, _ = network_view(self.labels, self.volume.ijk_to_ras, plan)
        np.copyto(view[prepared.crop], marked, where=marked > 0)
        meter = prediction.meter
        for known, told in ((self.confidence, meter.confidence()), (self.boundary_margin, meter.boundary_margin())):
            known |= {n: value for n, value in told.items() if n in self.wanted.values()}
        top = meter.top()
        if self.uncertainty is not None:
            self._add_uncertainty(top, prepared, plan)
        if self.keep_probabilities:
            self.tops.append(renamed_top(top, values))

    def _prepared(self, part: Model) -> Prepared:
        if part is self.model:
            return prepare(self.volume, part.plan, self.device, self._boxes)
        return self._shared.prepared_for(part.plan)

    def _add_uncertainty(self, top: TopProbabilities, prepared: Prepared, plan: Plan) -> None:
        """A voxel is as uncertain as the least certain network finds it."""
        view, matrix = network_view(self.uncertainty, self.volume.ijk_to_ras, plan)
        box = view[prepared.crop]
        np.maximum(box, top.uncertainty(box.shape, matrix_of(prepared.crop, matrix)), out=box)

    def _values_of(self, labels: dict[int, str]) -> np.ndarray:
        """The model's label value by a part's."""
        by_name = {n: v for v, n in self.model.labels.items()}
        values = np.zeros(max(labels) + 1, self.labels.dtype)
        for value, name in labels.items():
            values[value] = by_name[name]
        return values


def _share(progress: Progress, number: int, count: int, name: str) -> Progress:
    """Progress of one part as a share of all."""
    if count == 1:
        return progress
    return lambda stage, fraction, message: progress(stage, (number + fraction) / count, f"{name}: {message}")


class Clock:
    """Seconds between laps."""

    def __init__(self):
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = round(self.laps.get(stage, 0.0) + now - self._last, 3)
        self._last = now
