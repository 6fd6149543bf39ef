"""``deepseg estimate``: time and memory of a run, without running it."""

from ..models.card import DEMO_MODEL
from ..util.words import counted
from .checks import before_reading
from .console import Console
from .options import Channel, Device, Image, Json, Model, Quality, Quiet, Roi, RoiMask, Structures, split
from .segment_inputs import box_of, channel_files, region


def estimate(
    image: Image,
    model: Model = DEMO_MODEL,
    channel: Channel = None,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    roi: Roi = "",
    roi_mask: RoiMask = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Estimate the time and memory of a segmentation on this machine, and list input warnings."""
    from ..classify import what_is
    from ..models import find_model
    from ..models.input_checks import check_volume
    from ..segmentation import check_request
    from ..segmentation import estimate as estimate_segment
    from ..session.preflight import preflight
    from ..session.scan_texts import shown
    from ..worker.isolated import read_volume

    console, card = Console(quiet, as_json), find_model(model)
    check_request(card, split(structures), quality)
    files, box = channel_files(channel or [], card), box_of(roi, roi_mask)
    before_reading(image, roi_mask, *files.values(), device=device)
    volume = read_volume(image)
    check_volume(volume, card, force=True)  # fails only for volumes that --force cannot help
    found = estimate_segment(
        volume,
        card,
        channels={number: read_volume(path) for number, path in files.items()},
        structures=split(structures),
        device=device,
        quality=quality,
        roi=region(volume, image, box, roi_mask),
    )
    scan = what_is(volume)
    for note in preflight(volume, card, scan=scan).notes:
        console.warning(note.text + (" `deepseg segment` needs --force." if note.blocking else ""))
    if text := shown(scan):
        console.say(text)
    console.say(f"{counted(found.windows, 'window')}, {found.settings.describe()}")
    if found.at_most:
        console.say("At most, as the region that the model sees is still to be found:")
    console.say(f"About {found.seconds:.0f} s, {found.ram_bytes / 1e9:.1f} GB of memory")
    if found.device_bytes:
        console.say(f"{found.device_bytes / 1e9:.1f} GB of GPU memory")
    if found.disk_bytes:
        console.say(f"{found.disk_bytes / 1e9:.1f} GB of temporary disk space")
    console.event("estimate", **found.as_json())
