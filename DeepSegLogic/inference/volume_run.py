"""The networks of a model over one volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from ..data.boxes import boxes_by_label, matrix_of, whole
from ..data.label_map import label_dtype
from ..data.probabilities import TopProbabilities
from ..data.run_record import Stage, Timings
from ..data.types import Affine, ByteArray, LabelArray, MaskArray, Slices, VolumeArray
from ..data.volume import Volume
from ..models import Model
from ..models.plan import Normalization, Plan
from ..util.errors import first_line
from ..util.progress import Cancel, Progress, check, share
from .device import is_out_of_memory, lacks_operator
from .engine import Engine, Prediction, raise_explained
from .estimate import RunEstimate, estimate_run
from .familiarity import TrainingStatistics, watched
from .grid_plan import Grids, network_view
from .postprocess import Labels, remove_small
from .preprocessing import Prepared, normalized, prepare
from .presets import Quality

log = logging.getLogger(__name__)


class VolumeRun:
    """The networks of a model over one volume, one after the other; where two label a voxel, the later one wins.

    Args:
        wanted: names of the structures to label, by label value.
        channels: the model's further input channels, (K, J, I) on the volume's grid.
        region: (K, J, I) bool, where to label them; None for everywhere.
        keep_probabilities, uncertainty: see :func:`DeepSegLogic.segmentation.segment`.
        clock: receives the time of each stage.

    Attributes:
        seen: the part of the volume that the networks see; all of it, or see :meth:`see`.
        labels: (K, J, I) on the volume's grid.
        uncertainty: as :attr:`DeepSegLogic.segmentation.Result.uncertainty`.
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
        channels: Sequence[VolumeArray] = (),
        region: MaskArray | None = None,
        keep_probabilities: bool = False,
        uncertainty: bool = False,
    ):
        self.volume, self.channels, self.model, self.wanted = volume, channels, model, wanted
        self.quality, self.device = quality, device
        self.clock, self.region, self.keep_probabilities = clock, region, keep_probabilities
        self.labels: LabelArray = np.zeros(volume.shape_kji, label_dtype(max(model.labels, default=0)))
        self.uncertainty: ByteArray | None = np.zeros(volume.shape_kji, np.uint8) if uncertainty else None
        self.confidence: dict[str, float] = {}
        self.boundary_margin: dict[str, float] = {}
        self.warnings: list[str] = []
        self.tops: list[TopProbabilities] = []
        self.estimates: list[RunEstimate] = []
        self.marked = wanted if model.card.postprocess is None else model.labels  # steps look at all structures
        self._coarse: tuple[LabelArray, Affine] | None = None
        self.see(whole(volume.shape_kji))

    def see(self, box: Slices) -> None:
        """Let the networks see this box of the volume only, as if nothing were around it; the rest is background."""
        self._box = box
        matrix = matrix_of(box, self.volume.ijk_to_ras)
        self.seen = replace(self.volume, array=np.ascontiguousarray(self.volume.array[box]), ijk_to_ras=matrix)
        self._seen_channels = [np.ascontiguousarray(channel[box]) for channel in self.channels]
        region = None if self.region is None else self.region[box]
        self._grids = Grids(self.seen, self.quality.air, region, self._seen_channels)
        self._shared = SharedInput(self.seen, self.device, self._grids, self._seen_channels)

    def all_parts(self, progress: Progress, cancel: Cancel) -> None:
        """Run every network that the wanted structures need."""
        names = set(self.wanted.values())
        cards = self.model.cards_for(names)
        for number, card in enumerate(cards):
            check(cancel)
            one, name = 1 / len(cards), card.id if len(cards) > 1 else ""
            self._on_some_device(self.model.part(card), share(progress, number * one, (number + 1) * one, name), cancel)

    def finish(self) -> None:
        """Keep the wanted structures in the region only."""
        if self.marked is not self.wanted:
            np.copyto(self.labels, 0, where=~np.isin(self.labels, list(self.wanted)))
            self._forget_absent()
        if self.region is not None:
            for marked in (self.labels, self.uncertainty):
                if marked is not None:
                    np.copyto(marked, 0, where=~self.region)

    def remove_pieces(self, ml: float, progress: Progress, cancel: Cancel) -> None:
        """Remove the face-connected pieces of structures that are not larger than ``ml``, or that the card takes for
        mistakes; the latter not in a region of interest, which cuts pieces."""
        card = self.model.card
        least, whole = (card.min_piece_ml, card.one_piece) if self.region is None else ({}, [])
        if not (ml or least or whole):
            return
        boxes = boxes_by_label(self.labels)
        for number, (value, box) in enumerate(boxes.items()):
            check(cancel)
            name = self.model.labels[value]
            progress("finish", number / len(boxes), name)
            one, smallest = name in whole, max(ml, least.get(name, 0.0))
            if one or smallest:
                remove_small(self.labels[box], value, 1000 * smallest, self.volume.ijk_to_ras, all_but_one=one)
        self._forget_absent()

    def _forget_absent(self) -> None:
        there = {self.model.labels[value] for value in np.unique(self.labels) if value}
        for known in (self.confidence, self.boundary_margin):
            for name in known.keys() - there:
                del known[name]

    def seen_labels(self) -> Labels:
        """What a step of :mod:`~.postprocess` changes, in the part of the volume that the networks saw."""
        assert self._coarse is not None  # it is kept where the card names a step
        values = {name: value for value, name in self.marked.items()}
        place = self.seen.array, self.seen.ijk_to_ras
        return Labels(self.labels[self._box], *place, values, set(self.wanted.values()), *self._coarse)

    def _on_some_device(self, part: Model, progress: Progress, cancel: Cancel) -> None:
        try:
            return self._one(part, progress, cancel)
        except (RuntimeError, TypeError, MemoryError) as error:
            if self.device.type == "cpu" or not (is_out_of_memory(error) or lacks_operator(error)):
                raise
            log.warning("%s cannot run %s", self.device, part.card.id, exc_info=error)
            short = "GPU memory ran short" if is_out_of_memory(error) else "The GPU cannot run this model"
            reason = first_line(error)
        self.warnings.append(f"{short}; the CPU is used, and is slower. ({reason})")
        self.device = torch.device("cpu")
        self._shared = SharedInput(self.seen, self.device, self._grids, self._seen_channels)
        self._one(part, progress, cancel)

    def _one(self, part: Model, progress: Progress, cancel: Cancel) -> None:
        previous = None
        if part.previous is not None:
            previous = self._labels_of(part.previous, share(progress, 0, 0.5, "stage 1 of 2"), cancel)
            progress = share(progress, 0.5, 1, "stage 2 of 2")
        self.clock.lap("load model")
        plan = part.plan
        assert plan is not None  # a part has one network
        if plan.orientation is None:
            self.warnings.append(
                f"The model {part.card.id} does not say how its training images were oriented; the volume is used in "
                f"its own orientation ({self.volume.orientation}). If results look wrong, state the orientation in a "
                "card.json."
            )
        progress("preprocess", 0.0, "resampling")
        estimate = estimate_run(self.seen, part.networks, plan, self.quality, self.device, self._grids)
        prepared = self._prepared(part, plan, previous, estimate)
        progress("preprocess", 1.0, "resampling")
        self.clock.lap("preprocess")
        check(cancel)
        prediction = self._predicted(part, plan, prepared, estimate, progress, cancel)
        self.clock.lap("inference")
        self._mark(part, plan, prepared.grid.crop, prediction)

    def _prepared(self, part: Model, plan: Plan, previous: LabelArray | None, estimate: RunEstimate) -> Prepared:
        try:
            if part is self.model:
                return prepare(self.seen, plan, self.device, self._grids, self._seen_channels, previous)
            return self._shared.prepared_for(plan)
        except (RuntimeError, MemoryError) as error:
            if self.device.type != "cpu" and is_out_of_memory(error):
                raise
            raise_explained(error, estimate.settings)

    def _predicted(
        self, part: Model, plan: Plan, prepared: Prepared, estimate: RunEstimate, progress: Progress, cancel: Cancel
    ) -> Prediction:
        """What the networks of a part make of their input."""
        engine = Engine(
            part.networks,
            plan,
            estimate.settings,
            step=self.quality.step,
            mirror=self.quality.mirror,
            half_on_cpu=self.quality.halves(plan),
            keep_probabilities=self.keep_probabilities
            or self.uncertainty is not None
            or self.model.card.postprocess is not None,
        )
        trained = TrainingStatistics.from_json(part.card.training_statistics)
        with watched(part.networks[0], trained.layer if trained is not None else "") as features:
            prediction = engine.run(prepared, progress, cancel)
        if trained is not None:
            self.warnings += trained.warning(prepared.image, plan.normalization, features, part.card.modality)
        self.warnings += prediction.warnings
        self.estimates.append(replace(estimate, settings=engine.settings))
        return prediction

    def _mark(self, part: Model, plan: Plan, crop: Slices, prediction: Prediction) -> None:
        """Write a part's labels and what is known of them into the results.

        Args:
            crop: box of the prediction, as the network sees the volume.
        """
        labels = prediction.labels
        if plan.postprocess is not None:
            labels = plan.postprocess(labels)
        if self.region is not None and (plan.postprocess or self.model.card.postprocess):
            self.warnings.append(f"The postprocessing of {part.card.id} sees the region of interest only.")
        values = self._values_of(plan)
        marked = np.where(np.isin(values, list(self.marked)), values, 0)[labels]
        view, matrix = network_view(self.labels[self._box], self.seen.ijk_to_ras, plan)
        np.copyto(view[crop], marked, where=marked > 0)
        meter = prediction.meter
        for known, found in ((self.confidence, meter.confidence()), (self.boundary_margin, meter.boundary_margin())):
            known |= {n: value for n, value in found.items() if n in self.wanted.values()}
        top = meter.top()
        if top is None:
            return
        if self.model.card.postprocess is not None:
            self._coarse = values[top.labels[0]], top.ijk_to_ras
        if self.uncertainty is not None:
            # A voxel is as uncertain as the least certain network finds it.
            box = network_view(self.uncertainty[self._box], self.seen.ijk_to_ras, plan)[0][crop]
            np.maximum(box, top.uncertainty(box.shape, matrix_of(crop, matrix)), out=box)
        if self.keep_probabilities:
            self.tops.append(replace(top, labels=values[top.labels]))

    def _labels_of(self, stage: Model, progress: Progress, cancel: Cancel) -> LabelArray:
        """All labels of the first stage of a cascade, (K, J, I) of what is seen, also around what is asked for."""
        first = VolumeRun(
            self.seen, stage, stage.labels, self.quality, self.device, self.clock, channels=self._seen_channels
        )
        first.all_parts(progress, cancel)
        self.device = first.device
        self.warnings += first.warnings
        self.estimates += first.estimates
        return first.labels

    def _values_of(self, plan: Plan) -> npt.NDArray[np.uint8 | np.uint16]:
        """The model's label value by a part's; 0 for what is not reported."""
        by_name = {n: v for v, n in self.model.labels.items()}
        values = np.zeros(plan.highest + 1, self.labels.dtype)
        for value, name in plan.labels.items():
            values[value] = by_name[name]
        return values


class SharedInput:
    """A volume, and the further channels, prepared for networks that follow one another.

    Networks that want the same grid share the resampled volume; each normalizes it in its own way, after
    resampling (as TotalSegmentator does; the input of a single nnU-Net is normalized before).
    """

    def __init__(self, volume: Volume, device: torch.device, grids: Grids, channels: Sequence[VolumeArray] = ()):
        self._volume, self._device, self._grids, self._channels = volume, device, grids, channels
        self._raw: Prepared | None = None

    def prepared_for(self, plan: Plan) -> Prepared:
        """The input of the network with this plan."""
        grid = self._grids.of(plan)
        if self._raw is None or self._raw.grid is not grid:
            self._raw = None  # make room
            none = Normalization("none")
            raw = replace(plan, normalization=none, further=(none,) * len(plan.further))
            self._raw = prepare(self._volume, raw, self._device, self._grids, self._channels)
        return replace(self._raw, image=normalized(self._raw.image, plan))


class Clock:
    """Seconds between laps, by stage."""

    def __init__(self) -> None:
        self.laps: Timings = {}
        self._last = time.perf_counter()

    def lap(self, stage: Stage) -> None:
        """Add the time since the last lap to this stage."""
        now = time.perf_counter()
        self.laps[stage] = round(self.laps.get(stage, 0.0) + now - self._last, 3)
        self._last = now
