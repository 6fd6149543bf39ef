"""``deepseg refine``: prompts correct a label map."""

from pathlib import Path
from typing import Annotated

import typer

from .console import Console, Json, Quiet
from .segment import Device


def refine(
    labels: Annotated[
        Path, typer.Argument(help="Label map: NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd.", readable=False)
    ],
    image: Annotated[Path, typer.Option("--image", "-i", help="The CT that was segmented.", readable=False)],
    prompts: Annotated[
        Path, typer.Option("--prompts", "-p", help="Prompts, as docs/refine.md describes them.", readable=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the corrected label map.")],
    probabilities: Annotated[
        Path | None, typer.Option(help="probabilities.npz of the run that made the labels.", readable=False)
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model that takes prompts, instead of the solver: id or folder.")
    ] = "",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Correct structures of a label map by points, scribbles, boxes and lassos; only those structures change."""
    from ..io import read_label_map, read_volume, write_label_map
    from ..io.probabilities import read_probabilities
    from ..io.reading import voxel_type
    from ..progress import check
    from ..refine import prompt_network, read_prompts
    from ..refine import refine as run

    console = Console(quiet, as_json)
    wanted = read_prompts(prompts)
    with console.working():
        network = prompt_network(model, device) if model else None
        if network:
            console.say(f"{network.title}: licence {network.licence}.")
        label_map, volume = read_label_map(labels), read_volume(image)
        for sentence in label_map.warnings:
            console.warning(sentence)
        result = run(
            label_map,
            wanted.prompts,
            volume=volume,
            probabilities=read_probabilities(probabilities) if probabilities else None,
            network=network,
            locked=wanted.locked,
            add=wanted.add,
            progress=console.progress,
            cancel=console.cancelled,
        )
        check(console.cancelled)
        write_label_map(_with_type(result.label_map, voxel_type(labels)), output)
    for number, reason in result.skipped.items():
        console.warning(f"Prompt {number} has no effect: {reason}.")
    for note in result.notes:
        console.warning(note)
    for name, (gained, lost) in result.changes_ml.items():
        console.say(f"{name}: +{gained:.2f} ml, -{lost:.2f} ml")
    if not result.changes_ml:
        console.say("Nothing changed.")
    console.say(f"Written to {output}. Research use only.")
    console.event(
        "result",
        output=str(output),
        changes_ml=result.changes_ml,
        skipped=result.skipped,
        notes=result.notes,
        changed_box=result.changed_box and [[s.start, s.stop] for s in result.changed_box],
    )


def _with_type(label_map, kind):
    """The label map with the voxel type of the file that was corrected, unless a structure that was added is beyond."""
    from dataclasses import replace

    array = label_map.array.astype(kind)
    return replace(label_map, array=array) if (array == label_map.array).all() else label_map
