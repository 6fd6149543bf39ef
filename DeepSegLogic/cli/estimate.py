"""``deepseg estimate``: what a run would need, without running it."""

from .console import Console, Json, Quiet
from .segment import Device, Input, Model, Quality, Roi, RoiMask, Structures, region, split


def estimate(
    input: Input,
    model: Model = "ct_demo",
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    roi: Roi = "",
    roi_mask: RoiMask = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say how long a segmentation will take on this machine, and how much memory."""
    from ..io import read_volume
    from ..pipeline import estimate as estimate_segment

    console = Console(quiet, as_json)
    volume = read_volume(input)
    found = estimate_segment(
        volume,
        model,
        structures=split(structures),
        device=device,
        quality=quality,
        roi=region(volume, roi, roi_mask),
    )
    console.say(f"{found.windows} windows, {found.settings.describe()}")
    console.say(
        f"About {found.seconds:.0f} s, {found.ram_bytes / 1e9:.1f} GB of memory",
    )
    if found.device_bytes:
        console.say(f"{found.device_bytes / 1e9:.1f} GB of GPU memory")
    if found.disk_bytes:
        console.say(f"{found.disk_bytes / 1e9:.1f} GB of temporary disk space")
    console.event("estimate", **found.as_json())
