"""``deepseg segment``: segment a CT into a folder of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..models.card import DEMO_MODEL
from ..results.label_files import DEFAULT_LABELS
from ..util.lazy import import_ahead
from .checks import before_reading
from .console import Console
from .measures_table import table_of
from .models import obtain
from .on_server import segmenting
from .options import (
    Channel,
    Device,
    Download,
    Force,
    Image,
    Json,
    LabelFormats,
    MinPiece,
    Model,
    Quality,
    Quiet,
    Roi,
    RoiMask,
    Server,
    Structures,
    Surfaces,
    Uncertainty,
    output_folder,
    split,
)
from .segment_inputs import box_of, channel_files, region

if TYPE_CHECKING:
    from ..classify import Scan
    from ..data.volume import Volume
    from ..models import ModelCard
    from ..segmentation import Result


def segment(
    image: Image,
    output: Annotated[Path, output_folder("For the results.")],
    model: Model = DEMO_MODEL,
    channel: Channel = None,
    structures: Structures = "",
    device: Device = "auto",
    server: Server = "",
    quality: Quality = "standard",
    roi: Roi = "",
    roi_mask: RoiMask = None,
    uncertainty: Uncertainty = False,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write probabilities.npz, for `deepseg refine`.")
    ] = False,
    min_piece_ml: MinPiece = 0.0,
    enhance: Annotated[
        str,
        typer.Option(metavar="TASK", help="Enhance the CT first: denoise, slices or metal. See `deepseg enhance`."),
    ] = "",
    formats: LabelFormats = "seg.nrrd,nii.gz",
    surfaces: Surfaces = "stl",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment a CT and write label maps, organ surfaces, measurements and a preview."""
    console = Console(quiet, as_json)
    segment_to_folder(
        console,
        image,
        output,
        model=model,
        channel=channel or [],
        structures=split(structures),
        device=device,
        server=server,
        quality=quality,
        formats=split(surfaces) or [],
        labels=split(formats) or [],
        roi=roi,
        roi_mask=roi_mask,
        uncertainty=uncertainty,
        keep_probabilities=save_probabilities,
        min_piece_ml=min_piece_ml,
        enhance=enhance,
        force=force,
        yes=yes,
    )


def segment_to_folder(
    console: Console,
    source: Path,
    output: Path,
    *,
    model: str,
    formats: list[str],
    channel: Sequence[str] = (),
    labels: Sequence[str] = DEFAULT_LABELS,
    roi: str = "",
    roi_mask: Path | None = None,
    server: str = "",
    enhance: str = "",
    yes: bool = False,
    **options: Any,
) -> None:
    """Read, segment, write and report; shared with ``deepseg demo``.

    Args:
        server: URL of a server that segments; empty for this machine.
        enhance: how the CT is enhanced first; empty for not at all.
        options: of :func:`DeepSegLogic.segmentation.segment`.
    """
    from ..results.corrections import must_not_be_corrected
    from ..results.folder import write_outputs
    from ..results.label_files import check_labels
    from ..review import review
    from ..segmentation import check_request
    from ..session.scan_texts import phase_text
    from ..surfaces import check_formats
    from ..util.atomic_write import check_output_folder
    from ..worker.isolated import read_label_map, read_volume

    def suits(card: ModelCard) -> None:
        check_request(card, options.get("structures"), options.get("quality", "standard"))
        before_reading(*channel_files(channel, card).values())

    check_formats(formats)
    box = box_of(roi, roi_mask)
    before_reading(source, roi_mask, device="auto" if server else options.get("device", "auto"))
    check_labels(labels, source)
    check_output_folder(output)
    must_not_be_corrected(output, read_label_map)
    if server:
        card, run = segmenting(server, model, enhance, options)
        suits(card)
    else:
        card, run = _here(console, model, enhance, yes, suits)
    others = channel_files(channel, card)
    with console.working():
        console.progress("read", 0.0, source.name)
        volume = read_volume(source, cancel=console.cancelled)
        check_labels(labels, source, volume)
        options["roi"] = region(volume, source, box, roi_mask)
        options["channels"] = {name: read_volume(path, cancel=console.cancelled) for name, path in others.items()}
        console.progress("read", 1.0, source.name)
        scan = tell(console, volume, card)
        result = run(volume, progress=console.progress, cancel=console.cancelled, **options)
        rows, files = write_outputs(
            output,
            volume,
            result,
            source=source,
            formats=formats,
            labels=labels,
            progress=console.progress,
            cancel=console.cancelled,
        )
        findings = review(result.label_map, result.confidence, scan)
    for sentence in result.warnings:
        console.warning(sentence)
    console.show(table_of(rows))
    if result.phase:
        console.say(phase_text(result.phase))
    if findings:
        console.say("\n".join(["\nCheck these first:", *(f"- {finding.reason}" for finding in findings)]))
    console.say(f"\nWritten to {output}: {', '.join(files)}")
    if card.id == DEMO_MODEL:
        console.say(
            "The bundled model is a demonstration: small, and trained mostly on synthetic CT. Research use only.\n"
            "`deepseg models list` shows other models."
        )
    else:
        console.say("Research use only.")
    console.event(
        "result",
        output=str(output),
        files=files,
        structures=[row.as_json() for row in rows],
        warnings=result.warnings,
        findings=[asdict(finding) for finding in findings],
        timings=result.timings,
        plan=result.plan,
        scan=scan.as_json(),
        phase=result.phase,
    )


def tell(console: Console, volume: Volume, card: ModelCard) -> Scan:
    """Say what a volume shows, and warn of what is odd about it or about the model for it."""
    from ..classify import what_is
    from ..session.scan_texts import doubts, shown

    scan = what_is(volume)
    if text := shown(scan):
        console.say(text)
    for text, remedy in doubts(scan, card.title, card.structures):
        console.warning(f"{text} {remedy}")
    return scan


def _here(
    console: Console, model: str, enhance: str, yes: bool, suits: Callable[[ModelCard], None]
) -> tuple[ModelCard, Callable[..., Result]]:
    """The model, and what segments with it on this machine."""
    from ..segmentation import segment as run

    if enhance:
        from ..enhance.before import segment_enhanced
        from ..enhance.enhancement import check_task

        check_task(enhance)
        run = partial(segment_enhanced, enhance=enhance)
    card = obtain(console, model, yes, suits)
    import_ahead("torch")  # while another process reads the file
    return card, partial(run, model=card)
