"""What clients may ask for: the schema of the protocol."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..remote.protocol import GridHeader

VolumeId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Id of a volume that was uploaded.")]
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Id, see `GET /v1/models`.")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[list[Name], Field(max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=1 << 15)]
Matrix = Annotated[list[Number], Field(min_length=16, max_length=16)]
Quality = Literal["draft", "fast", "standard", "best"]
Labels = Literal["seg.nrrd", "nii.gz"]
Meshes = Literal["stl", "ply", "obj", "vtp", "glb", "3mf"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Placed(_Strict):
    shape: Annotated[list[Side], Field(min_length=3, max_length=3, description="Voxels along (K, J, I).")]
    ijk_to_ras: Matrix = Field(description="4×4 by rows: (I, J, K, 1) to RAS in mm.")

    @field_validator("ijk_to_ras")
    @classmethod
    def _is_a_place(cls, value: list[float]) -> list[float]:
        matrix = np.array(value).reshape(4, 4)
        if list(matrix[3]) != [0, 0, 0, 1] or not abs(np.linalg.det(matrix[:3, :3])) > 1e-9:
            raise ValueError("not an invertible matrix whose last row is 0, 0, 0, 1")
        return value


class Grid(_Placed):
    """A volume or label map before its voxels: size, type, place in space, and digest of the raw voxels."""

    dtype: Literal["int16", "float32", "uint8", "uint16"] = Field(
        description="Little-endian. int16 and float32 for volumes, uint8 and uint16 for label maps."
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="Of the voxels, as `sha256sum` prints it.")]

    def header(self) -> GridHeader:
        """As client and server use it."""
        k, j, i = self.shape
        return GridHeader((k, j, i), self.dtype, tuple(float(x) for x in self.ijk_to_ras), self.sha256)


class Coded(_Strict):
    """A coded concept."""

    scheme: Name
    value: Name
    meaning: Name


class Labelled(_Strict):
    """A structure of a label map."""

    value: Annotated[int, Field(ge=1, le=65535)]
    name: Name
    title: Annotated[str, Field(max_length=200)] = ""
    color: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)] = [128, 174, 128]
    category: Coded | None = None
    type: Coded | None = None
    modifier: Coded | None = None
    laterality: Name | None = None
    body_system: Name | None = None
    region: Coded | None = None


class Layer(_Strict):
    """A label map that was uploaded as a volume, and what its values mean."""

    volume: VolumeId
    structures: Annotated[list[Labelled], Field(max_length=65535)]


class LabelMapRef(Layer):
    """A label map, and its layers where structures overlap: label maps on its grid that hold each structure whole."""

    layers: Annotated[list[Layer], Field(max_length=1000)] = []

    @property
    def volumes(self) -> set[str]:
        """Ids of all that it needs."""
        return {self.volume, *(layer.volume for layer in self.layers)}


class Segment(_Strict):
    """Segment a volume."""

    request: Literal["segment"]
    volume: VolumeId
    model: ModelId
    modality: Annotated[str, Field(max_length=16)] | None = None
    channels: dict[Annotated[str, Field(pattern=r"^[0-9]{1,2}$")], VolumeId] = Field(
        default={}, description="Further volumes that the model sees, by the number of the channel."
    )
    structures: Names | None = Field(default=None, description="Names or titles; null for all.")
    quality: Quality = "standard"
    roi: Annotated[list[Number], Field(min_length=6, max_length=6)] | None = Field(
        default=None, description="Two corners in RAS mm."
    )
    roi_mask: VolumeId | None = Field(default=None, description="A uint8 volume on the same grid.")
    force: bool = False
    uncertainty: bool = False
    keep_probabilities: bool = False
    min_piece_ml: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    files: list[Labels | Meshes] = Field(default=[], description="Formats of the archive; none by default.")

    @property
    def volumes(self) -> set[str]:
        """Ids of all that it needs."""
        return {self.volume, *self.channels.values(), *filter(None, [self.roi_mask])}


class Refine(_Strict):
    """Correct a label map by prompts; by the solver, or by a model that takes prompts."""

    request: Literal["refine"]
    volume: VolumeId
    label_map: LabelMapRef
    prompts: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10_000)] = Field(
        description="As the entries of a file of prompts: structure, type, positive, ras in mm, radius_mm."
    )
    model: ModelId | None = None
    modality: Annotated[str, Field(max_length=16)] | None = None
    reach: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    locked: Names | None = None
    add: Names = []
    files: list[Labels] = []

    @property
    def volumes(self) -> set[str]:
        """Ids of all that it needs."""
        return {self.volume, *self.label_map.volumes}


class Surfaces(_Strict):
    """Extract closed surfaces of a label map."""

    request: Literal["surfaces"]
    label_map: LabelMapRef
    structures: Names | None = None
    smoothing: Literal["none", "light", "standard", "strong"] = "standard"
    repair_crossings: bool = Field(default=False, description="Repair triangles that cross each other.")
    files: list[Meshes] = []

    @property
    def volumes(self) -> set[str]:
        """Ids of all that it needs."""
        return self.label_map.volumes


class Estimate(_Placed):
    """Estimate time and memory of a run on the server's hardware. Needs no volume."""

    request: Literal["estimate"]
    model: ModelId
    quality: Quality = "standard"

    @property
    def volumes(self) -> set[str]:
        """Ids of all that it needs."""
        return set()

    @property
    def nbytes(self) -> int:
        """Size of the voxels, if the volume were sent."""
        return math.prod(self.shape) * np.dtype(np.int16).itemsize


Request = Annotated[Segment | Refine | Surfaces | Estimate, Field(discriminator="request")]


class About(_Strict):
    """What answers here."""

    service: Literal["deepseg"] = "deepseg"
    protocol: int
    deepseg: str


class Upload(_Strict):
    """How much of a volume is here."""

    id: str
    received: int
    bytes: int


class Problem(_Strict):
    """Why a request was refused or a job failed."""

    code: str
    message: str
    remedy: str = ""
    action: str | None = None
    details: dict[str, str] = {}


class JobState(_Strict):
    """Where a job is."""

    id: str
    request: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    place: int = Field(description="Jobs before it in the queue, if it is queued; else 0.")
    stage: str = ""
    fraction: float = Field(default=0.0, description="Of the stage, 0 to 1.")
    message: str = ""
    warnings: list[str] = []
    error: Problem | None = None
    created: float = Field(description="Seconds since 1970.")
    ended: float | None = None
    kept_until: float | None = None
    has_files: bool = False
