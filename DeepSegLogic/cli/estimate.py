"""``deepseg estimate``: what a run would need, without running it."""

from ..models.card import DEMO_MODEL
from .console import Console, Json, Quiet
from .segment import Device, Input, Model, Quality, Roi, RoiMask, Structures, region, split


def estimate(
    input: Input,
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    roi: Roi = "",
    roi_mask: RoiMask = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say how long a segmentation will take on this machine, how much memory, and what is odd about the volume."""
    from ..io import read_volume
    from ..models import find_model
    from ..pipeline import check_request, check_volume
    from ..pipeline import estimate as estimate_segment
    from ..viewmodel.preflight import preflight

    console, card = Console(quiet, as_json), find_model(model)
    check_request(card, split(structures), quality)
    volume = read_volume(input)
    check_volume(volume, card, force=True)  # what not even --force makes usable
    found = estimate_segment(
        volume,
        card,
        structures=split(structures),
        device=device,
        quality=quality,
        roi=region(volume, roi, roi_mask),
    )
    for note in preflight(volume, card).notes:
        console.warning(note.text + (" `deepseg segment` asks for --force." if note.blocking else ""))
    console.say(f"{found.windows} windows, {found.settings.describe()}")
    console.say(f"About {found.seconds:.0f} s, {found.ram_bytes / 1e9:.1f} GB of memory")
    if found.device_bytes:
        console.say(f"{found.device_bytes / 1e9:.1f} GB of GPU memory")
    if found.disk_bytes:
        console.say(f"{found.disk_bytes / 1e9:.1f} GB of temporary disk space")
    console.event("estimate", **found.as_json())
