"""``deepseg refine``: correct a label map with prompts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checks import before_reading
from .console import Console
from .on_server import connected
from .options import Device, Json, Labels, Quiet, Server, given_path, output_file

if TYPE_CHECKING:
    import numpy as np

    from ..data.label_map import LabelMap
    from ..refinement import Refinement


def refine(
    labels: Labels,
    image: Annotated[Path, given_path("IMAGE", "The CT that was segmented.", "--image", "-i")],
    prompts: Annotated[Path, given_path("FILE", "Prompts: JSON, see docs/refine.md.", "--prompts", "-p")],
    output: Annotated[Path, output_file("For the corrected label map.")],
    probabilities: Annotated[
        Path | None, given_path("FILE", "probabilities.npz of the same run as the labels.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Id or folder of a model that takes prompts, instead of the solver.",
        ),
    ] = "",
    reach: Annotated[
        float,
        typer.Option(
            min=0, metavar="FACTOR", help="Change this multiple of the volume found wrong; 0: only what prompts mark."
        ),
    ] = 1.0,
    device: Device = "auto",
    server: Server = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Correct structures of a label map with points, scribbles, boxes and lassos. Only those structures change."""
    from ..io import write_label_map
    from ..io.write import check_can_hold, check_suffix
    from ..refinement import read_prompts
    from ..util.lazy import import_ahead
    from ..util.progress import check
    from ..util.words import change_text
    from ..worker.isolated import IsolatedReader

    console = Console(quiet, as_json)
    check_suffix(output)
    before_reading(labels, device="auto" if server else device)
    before_reading(image, prompts, None if server else probabilities, file=output)  # which may be that of the labels
    wanted = read_prompts(prompts)
    with console.working(), IsolatedReader(console.cancelled) as read:
        if server:
            run = _there(console, server, model, device, probabilities)
        else:
            run = _here(console, model, device, probabilities)
            import_ahead("SimpleITK")  # while another process reads the files
        label_map = read.label_map(labels, image)
        check_can_hold(output, label_map)
        volume = read.volume(image)
        for sentence in label_map.warnings:
            console.warning(sentence)
        result = run(
            label_map,
            wanted.prompts,
            volume=volume,
            reach=reach,
            locked=wanted.locked,
            add=wanted.add,
            progress=console.progress,
            cancel=console.cancelled,
        )
        check(console.cancelled)
        write_label_map(_as_in(labels, result.label_map), output)
    for number, reason in result.skipped.items():
        console.warning(f"Prompt {number} has no effect: {reason}.")
    for note in result.notes:
        console.warning(note)
    titles = {s.name: s.title or s.name for s in result.label_map.structures}
    for name, (gained, lost) in result.changes_ml.items():
        console.say(f"{titles[name]}: {', '.join(change_text(ml) for ml in (gained, -lost) if ml)}")
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


def _here(console: Console, model: str, device: str, probabilities: Path | None) -> Callable[..., Refinement]:
    """What corrects on this machine."""
    from ..io.probabilities import read_probabilities
    from ..refinement import refine

    network = None
    if model:  # else models are not imported
        from ..refinement import prompt_network

        network = prompt_network(model, device)
        console.say(f"{network.title}: licence {network.licence}.")
    kept = read_probabilities(probabilities) if probabilities else None
    return partial(refine, network=network, probabilities=kept)


def _there(
    console: Console, server: str, model: str, device: str, probabilities: Path | None
) -> Callable[..., Refinement]:
    """What corrects on a server."""
    from ..remote.known import model_of
    from ..util.errors import UsageError

    if probabilities:
        raise UsageError(
            "Probabilities are not sent to a server.",
            "Leave out --probabilities, or correct on this computer.",
            code="usage.probabilities",
        )
    remote = connected(server, device)
    if model:
        card = model_of(remote, model)
        console.say(f"{card.title}: licence {card.licence}.")
    return partial(remote.refine, model=model or None)


def _as_in(labels: Path, label_map: LabelMap) -> LabelMap:
    """The label map with the voxel type of the corrected file, if that is an image: DICOM SEG and RTSTRUCT are not."""
    from ..io.read import voxel_type
    from ..util.errors import InputError

    try:
        return _with_type(label_map, voxel_type(labels))
    except InputError:
        return label_map


def _with_type(label_map: LabelMap, kind: np.dtype[Any]) -> LabelMap:
    """The label map with the dtype of the corrected file, unless an added structure has too large a value."""
    from dataclasses import replace

    array = label_map.array.astype(kind)
    if (array != label_map.array).any():
        return label_map
    return replace(label_map, array=array, layers=[_with_type(layer, kind) for layer in label_map.layers])
