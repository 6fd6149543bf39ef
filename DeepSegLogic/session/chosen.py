"""The state of what a user chooses before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..classify.scan import Scan
from ..data.records import on_same_grid
from ..data.volume import Volume
from .preflight import Preflight
from .structure_presets import PRESETS, Group, groups_of, preset_names


@dataclass(frozen=True)
class Input:
    """The volume to segment, or None, and what is known about it; ``scan`` is None until the worker has told it."""

    volume: Volume | None = None
    preflight: Preflight = field(default_factory=Preflight)
    scan: Scan | None = None


def same_scan(one: Volume | None, other: Volume | None) -> bool:
    """Whether two volumes are the same scan, as far as name and grid tell: faces read it again at each run."""
    if one is None or other is None:
        return False
    return one is other or (one.name == other.name and on_same_grid(one, other))


@dataclass(frozen=True)
class Channels:
    """The images that the chosen model sees beside the input: the names of their channels, and a volume or None for
    each. Empty for most models."""

    names: tuple[str, ...] = ()
    volumes: tuple[Volume | None, ...] = ()

    def among(self, names: Sequence[str]) -> Channels:
        """The same volumes for the channels of another model, where it has them."""
        known = dict(zip(self.names, self.volumes, strict=True))
        return Channels(tuple(names), tuple(known.get(name) for name in names))

    def having(self, name: str, volume: Volume | None) -> Channels:
        """With this volume for the channel of this name."""
        return Channels(
            self.names, tuple(volume if n == name else v for n, v in zip(self.names, self.volumes, strict=True))
        )

    @property
    def missing(self) -> list[str]:
        """The channels that still need a volume."""
        return [name for name, volume in zip(self.names, self.volumes, strict=True) if volume is None]

    @property
    def by_number(self) -> dict[str, Volume]:
        """The volumes as :func:`DeepSegLogic.segmentation.segment` takes them."""
        return {str(number): volume for number, volume in enumerate(self.volumes, start=1) if volume is not None}


@dataclass(frozen=True)
class Settings:
    """Settings of the next run.

    Attributes:
        quality: ``"draft"``, ``"fast"``, ``"standard"`` or ``"best"``.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        force: whether to segment a volume that does not look like what the model is for.
        enhance: how to enhance the CT first, one of :func:`~DeepSegLogic.session.enhancements.enhancements`; empty for
            not at all.
    """

    quality: str = "standard"
    device: str = "auto"
    force: bool = False
    enhance: str = ""


@dataclass(frozen=True)
class Place:
    """Where the next runs happen.

    Attributes:
        url: of the server; empty for this machine.
    """

    url: str = ""


@dataclass(frozen=True)
class Structures:
    """The structures that the chosen model knows, and those to segment; both by name, in label order.

    Attributes:
        elsewhere: those of the known ones that lie in no region of the scan.
    """

    known: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def presets(self) -> list[str]:
        """Those of :data:`PRESETS` with structures of the model that may be in the scan."""
        here = [name for name in self.known if name not in set(self.elsewhere)]
        return [preset for preset in PRESETS if preset_names(preset, here)]

    @property
    def groups(self) -> list[Group]:
        """The known ones by body system."""
        return groups_of(list(self.known))


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to need, see :class:`~DeepSegLogic.data.run_record.RunPlan`."""

    device: str
    seconds: float
    ram_bytes: int
    device_bytes: int
    windows: int
    at_most: bool
