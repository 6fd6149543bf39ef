"""What is recorded of a run, as the JSON values of ``provenance.json``."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

Stage: TypeAlias = Literal["load model", "preprocess", "inference", "finish"]

Timings: TypeAlias = dict[Stage, float]
"""Seconds by stage."""

PHASES = ("", "plain", "arterial", "venous")
"""Contrast phases that a run may tell of a CT; empty for unknown."""


class ModelFacts(TypedDict, total=False):
    """Which model ran; ``digest`` is the SHA-256 of its files. Only id and version are known of a saved scene."""

    id: str
    version: str
    licence: str
    digest: str


class RunChoices(TypedDict, total=False):
    """What :func:`~DeepSegLogic.segmentation.segment` was asked for.

    ``channels`` are the names of the further volumes by channel. ``roi`` is ``"mask"``, or two opposite corners in
    RAS mm. ``enhanced`` says how the volume was enhanced first. What was not asked for is left out.
    """

    structures: list[str]
    channels: dict[str, str]
    quality: str
    device: str
    uncertainty: bool
    min_piece_ml: float
    roi: Literal["mask"] | list[float]
    enhanced: dict[str, str]


class CropFacts(TypedDict, total=False):
    """The region that a model saw, see :class:`~DeepSegLogic.models.crop.Crop`.

    ``model`` is the helper that found it around ``structures``; ``crop`` is the helper's own region, if it has one.
    ``voxels_ijk`` are its first voxel and the one after its last along I, J and K; left out where nothing was found.
    """

    model: ModelFacts
    structures: list[str]
    margin_mm: float
    voxels_ijk: list[list[int]]
    crop: CropFacts


class PostprocessFacts(TypedDict, total=False):
    """What was done with the labels, see :class:`~DeepSegLogic.models.postprocess.Postprocess`; ``model`` is left out
    where it needed none."""

    name: str
    model: ModelFacts


class Provenance(TypedDict, total=False):
    """Where a result comes from; parts are missing where a result was read from elsewhere.

    ``crop`` is left out for a model that saw the whole volume, ``postprocess`` where the labels are the network's.
    ``run`` says in words where it ran. ``versions`` are those of DeepSeg and the main libraries. ``request`` is what a
    cohort asked for; it recognizes finished cases by it. ``created`` is the time in ISO 8601, UTC.
    """

    model: ModelFacts
    crop: CropFacts
    postprocess: PostprocessFacts
    settings: RunChoices
    run: str
    versions: dict[str, str]
    request: dict[str, object]
    created: str


class RunPlan(TypedDict, total=False):
    """What a run was expected to take, and where it ran in the end.

    Bytes are peak needs, ``seconds`` the expected duration. ``at_most`` says that the run may need less.
    ``patch_size`` is (Z, Y, X) voxels, and ``run`` describes the settings that the run ended with.
    """

    windows: int
    device_bytes: int
    ram_bytes: int
    disk_bytes: int
    seconds: float
    at_most: bool
    device: str
    patch_size: list[int]
    run: str
