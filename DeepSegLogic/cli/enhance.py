"""``deepseg enhance``: a cleaner copy of a CT; ``deepseg enhance-train``: a network of one's own for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..models.card import DEMO_MODEL
from ..util.words import counted, minus_text, signed_text
from .checks import before_reading, must_differ, must_end
from .console import Console, as_typed
from .options import Device, Image, Json, Quiet, given_path, output_file, path_argument

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.label_map import LabelMap
    from ..data.volume import Volume
    from ..enhance.changes import Changes

_MOST_ROWS = 12

Task = Annotated[
    str,
    typer.Option("--task", "-t", metavar="TASK", help="denoise, slices (thinner ones) or metal (fewer streaks)."),
]


def enhance(
    image: Image,
    output: Annotated[Path, output_file("For the enhanced CT.")],
    task: Task = "denoise",
    checkpoint: Annotated[
        Path | None,
        given_path("FILE", "Network of `deepseg enhance-train`. Default: the bundled one for noise, none for slices."),
    ] = None,
    labels: Annotated[
        Path | None,
        given_path("LABELS", "Label map of the CT, to compare HU of its structures. Default: the bundled model's."),
    ] = None,
    difference: Annotated[
        Path | None, given_path("FILE", "Also write what changed, in HU on the CT's grid, to this file.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Reduce noise, thick slices or metal streaks of a CT, and report what that changed. The CT stays as it is."""
    from ..enhance.changes import changes
    from ..enhance.enhancement import check_task, enhance_volume
    from ..io.write import check_suffix, write_array, write_volume
    from ..util.progress import check
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    check_task(task)
    files = [output, *([difference] if difference is not None else [])]
    must_differ(files)
    for file in files:
        check_suffix(file)
        before_reading(image, labels, checkpoint, file=file, device=device)
    with console.working():
        console.progress("read", 0.0, image.name)
        volume = read_volume(image, cancel=console.cancelled)
        console.progress("read", 1.0, image.name)
        enhanced = enhance_volume(
            volume, task, network=checkpoint, device=device, progress=console.progress, cancel=console.cancelled
        )
        label_map = _structures(console, volume, image, labels, device)
        found = changes(volume, enhanced, label_map)
        check(console.cancelled)
        write_volume(enhanced.volume, output)
        if difference is not None:
            write_array(found.difference, volume.ijk_to_ras, difference)
    for sentence in [*volume.warnings, *found.warnings]:
        console.warning(sentence)
    console.show(_table(found))
    console.say(f"Noise: {found.noise_before:.1f} HU before, {found.noise_after:.1f} HU after.")
    console.say(f"Written to {', '.join(map(str, files))}. Keep the CT: this is not a scan. Research use only.")
    console.event(
        "result",
        output=str(output),
        how=enhanced.how,
        noise_hu=[round(found.noise_before, 2), round(found.noise_after, 2)],
        drift_hu={d.structure: round(d.hu, 2) for d in found.drifts},
        places=[{"ml": p.ml, "hu": p.hu, "ras": p.ras} for p in found.places],
        warnings=found.warnings,
    )


def enhance_train(
    images: Annotated[list[Path], path_argument("IMAGES", "CTs to learn from: low noise or thin slices.")],
    output: Annotated[Path, output_file("For the network, ending with .pth.")],
    task: Annotated[str, typer.Option("--task", "-t", metavar="TASK", help="denoise or slices.")] = "denoise",
    worse: Annotated[
        list[Path] | None,
        given_path(
            "IMAGE",
            "CT with much noise or thick slices, of any patient. Repeat for several. With it, a CycleGAN learns "
            "from these; without, a U-Net learns from artificially worsened copies.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, metavar="MINUTES", help="Duration.")] = 60.0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a network for `deepseg enhance --checkpoint` on your own CTs."""
    from ..enhance.train import check_trainable, train_cleaner
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    must_end(output, ".pth")
    check_trainable(task)
    before_reading(*images, *(worse or []), file=output, device=device)
    with console.working():
        volumes = [[read_volume(path, cancel=console.cancelled) for path in paths] for paths in (images, worse or [])]
        cleaner = train_cleaner(
            task,
            *volumes,
            output=output,
            minutes=minutes,
            device=device,
            progress=console.progress,
            cancel=console.cancelled,
        )
    facts = cleaner.facts
    before, after = facts["test_error_hu"]
    console.say(f"{counted(facts['steps'], 'step')} ({facts['training']}). Written to {output}.")
    told = f"Mean error on test slices that were made worse: {before:.2f} HU before, {after:.2f} HU after."
    if after > before:
        console.warning(f"{told} Compare it on your CTs before you use it.")
    else:
        console.say(told)
    console.say(f"Use it with `deepseg enhance IMAGE -o FILE --task {task} --checkpoint {as_typed(output)}`.")
    console.say("Research use only.")
    console.event("result", output=str(output), **facts)


def _structures(console: Console, volume: Volume, source: Path, labels: Path | None, device: str) -> LabelMap:
    """Those of the file, else as the bundled model finds them."""
    from ..segmentation import segment
    from ..worker.isolated import read_label_map

    if labels is not None:
        return read_label_map(labels, source, cancel=console.cancelled)
    return segment(
        volume,
        DEMO_MODEL,
        device=device,
        quality="draft",
        force=True,
        progress=lambda stage, fraction, message: console.progress("check", fraction, "structures"),
        cancel=console.cancelled,
    ).label_map


def _table(found: Changes) -> Table:
    from rich.markup import escape
    from rich.table import Table

    more = len(found.drifts) - _MOST_ROWS
    caption = f"and {counted(more, 'structure')} that changed less" if more > 0 else ""
    table = Table("Structure", "HU before", "HU after", "Change", caption=caption)
    for column in table.columns[1:]:
        column.justify = "right"
    for drift in found.drifts[:_MOST_ROWS]:
        before, after = (minus_text(hu, ".0f") for hu in (drift.before, drift.after))
        table.add_row(escape(drift.title), before, after, signed_text(drift.hu))
    return table
