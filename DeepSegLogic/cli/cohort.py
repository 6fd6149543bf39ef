"""``deepseg cohort``: segment many CTs, each into a folder of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..models.card import DEMO_MODEL, ModelCard
from ..util.errors import Cancelled, UsageError
from ..util.words import counted
from .checks import before_reading
from .console import Console
from .models import obtain
from .on_server import connected
from .options import (
    Device,
    Download,
    Force,
    Json,
    Match,
    MinPiece,
    Model,
    Quality,
    Quiet,
    Structures,
    Surfaces,
    Uncertainty,
    output_folder,
    path_argument,
    split,
)
from .remedies import WORDS

if TYPE_CHECKING:
    from ..cohort.case import Outcome, Settings
    from ..cohort.cases import Case

SLURM = "slurm"


def cohort(
    images: Annotated[list[Path], path_argument("IMAGES", "Folders, searched for volumes and DICOM series, or files.")],
    output: Annotated[Path, output_folder("For the results, with one folder per case.")],
    match: Match = "",
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    uncertainty: Uncertainty = False,
    min_piece_ml: MinPiece = 0.0,
    surfaces: Surfaces = "stl",
    skip_elsewhere: Annotated[
        bool, typer.Option("--skip-elsewhere", help="Skip scans of other parts of the body than the structures'.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Cases at the same time on this machine; 0: one per GPU, or one. Slurm: array tasks.",
        ),
    ] = 0,
    engine: Annotated[str, typer.Option(metavar="ENGINE", help="dask, spark or slurm.")] = "dask",
    scheduler: Annotated[str, typer.Option(metavar="ADDRESS", help="Dask scheduler or Spark master to use.")] = "",
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server", metavar="URL", help="Run on a server that `deepseg servers add` saved. Repeat for several."
        ),
    ] = None,
    part: Annotated[str, typer.Option(metavar="I/N", help="Only this part of the cases, e.g. 3/10.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Slurm: print the script, submit nothing.")] = False,
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment many CTs. A failed case does not stop the others. Run again to resume: finished cases are kept."""
    from ..cohort.case import Settings
    from ..cohort.cases import find_cases
    from ..surfaces import check_formats
    from .slurm import part_of

    console, wanted, formats = Console(quiet, as_json), split(structures), split(surfaces) or []
    check_formats(formats)
    _check_engine(engine, part, scheduler, dry_run)
    _check_run(quality, device, elsewhere=engine == SLURM or bool(scheduler), on_servers=bool(server))
    before_reading(folder=None if dry_run else output)
    share = part_of(part) if part else slice(None)
    card, engine, scheduler = _place(server or [], model, engine, scheduler, workers, device)
    _check_card(card, wanted, quality)
    found = find_cases(images, match, leave_out=output)
    cases = found[share]
    if not cases:
        console.say(f"Part {part} has no cases: there are only {len(found)}.")
        console.event("result", output=str(output), cases={})
        return
    if not server:
        card = obtain(console, model, yes)
    name = model if server or model == card.id else str(Path(model).resolve())
    settings = Settings(
        output.resolve(), name, wanted, device, quality, formats, uncertainty, force, min_piece_ml, skip_elsewhere
    )
    if engine == SLURM:
        given: dict[str, object] = {"--match": match, "--model": name, "--structures": structures, "--device": device}
        given |= {"--quality": quality, "--min-piece-ml": min_piece_ml, "--surfaces": surfaces}
        flags = {"--uncertainty": uncertainty, "--force": force, "--yes": yes, "--skip-elsewhere": skip_elsewhere}
        words = _words(images, settings.output, given, flags)
        _on_slurm(console, words, settings, len(cases), workers, output, dry_run)
        return
    table = f"-{part.replace('/', '-of-')}" if part else ""
    outcomes = _run(console, cases, settings, workers=workers, scheduler=scheduler, engine=engine, part=table)
    _tell(console, outcomes, output, f"cohort{table}.csv")


def _check_engine(engine: str, part: str, scheduler: str, dry_run: bool) -> None:
    from ..cohort.engines import ENGINES

    offered = [*(name for name in ENGINES if name != "servers"), SLURM]  # --server chooses that one
    if engine not in offered:
        raise UsageError(f"There is no engine {engine!r}.", f"Choose one of {', '.join(offered)}.", code="usage.engine")
    if dry_run and engine != SLURM:
        raise UsageError("--dry-run is for --engine slurm.", "Leave it out.", code="usage.option")
    for option, value in {"--part": part, "--scheduler": scheduler}.items():
        if value and engine == SLURM:
            raise UsageError(
                f"{option} is not for --engine slurm.",
                "Leave it out: the tasks of the array job share the cases.",
                code="usage.option",
            )


def _check_run(quality: str, device: str, *, elsewhere: bool, on_servers: bool) -> None:
    """Check how cases are segmented.

    Args:
        elsewhere: whether the device is that of another machine.
    """
    from ..inference.device import choose_device
    from ..inference.presets import quality as quality_named
    from ..util.device_names import check_device_name

    quality_named(quality)
    if elsewhere:
        check_device_name(device)
    elif not on_servers:
        choose_device(device)


def _place(
    urls: list[str], model: str, engine: str, scheduler: str, workers: int, device: str
) -> tuple[ModelCard, str, str]:
    """The model, the engine and its address."""
    from ..models.install import here_or_catalogued

    if urls:
        return _on_servers(urls, model, engine, scheduler, workers, device)
    return here_or_catalogued(model), engine, scheduler


def _check_card(card: ModelCard, structures: list[str] | None, quality: str) -> None:
    from ..segmentation import check_request

    check_request(card, structures, quality)
    if card.channels:
        raise UsageError(
            f"The model {card.id} needs a volume for each of {', '.join(card.channels)}, but a case has one.",
            "Segment the cases one by one with `deepseg segment --channel`.",
            code="usage.channel",
        )


def _on_servers(
    urls: list[str], model: str, engine: str, scheduler: str, workers: int, device: str
) -> tuple[ModelCard, str, str]:
    """The model, the engine and its address."""
    from ..remote.known import model_of

    if engine != "dask" or scheduler or workers:
        raise UsageError(
            "Servers have workers of their own.",
            "Leave out --engine, --scheduler and --workers.",
            code="usage.workers",
        )
    return model_of(connected(urls[0], device), model), "servers", ",".join(urls)


def _words(images: list[Path], output: Path, given: Mapping[str, object], flags: Mapping[str, bool]) -> list[str]:
    """The arguments of a task of an array job, which finds the same cases."""
    words = [*(str(path.resolve()) for path in images), f"--output={output}", "--workers=1"]
    words += [f"{option}={value}" for option, value in given.items() if value or option == "--surfaces"]
    return words + [flag for flag, on in flags.items() if on]


def _on_slurm(
    console: Console, words: list[str], settings: Settings, cases: int, tasks: int, output: Path, dry_run: bool
) -> None:
    """Submit an array job, or print its script.

    Args:
        words: the arguments of a task.
        output: as the user gave it.
    """
    from .slurm import array_script, submit

    script = array_script(["cohort", *words], settings.output, cases, tasks, settings.device.startswith("cuda"))
    if dry_run:
        print(script, end="")
        return
    said = submit(script, settings.output)
    console.say(said)
    console.say("Once all tasks have ended, run the same command without --engine: it writes all cases' tables.")
    console.event("result", output=str(output), message=said)


def _run(console: Console, cases: list[Case], settings: Settings, **how: Any) -> list[Outcome]:
    """Segment the cases and tell of each as it ends; ``how`` as :func:`~DeepSegLogic.cohort.runner.run_cohort`."""
    from ..cohort.runner import run_cohort

    outcomes: list[Outcome] = []
    with console.working():
        console.progress("cohort", 0.0, counted(len(cases), "case"))
        for ended in run_cohort(cases, settings, progress=console.progress, cancel=console.cancelled, **how):
            outcome = ended.in_words(WORDS)
            outcomes.append(outcome)
            console.progress("cohort", len(outcomes) / len(cases), f"{outcome.case.name}: {outcome.status}")
            console.event("case", **outcome.as_json())
    return outcomes


def _tell(console: Console, outcomes: list[Outcome], output: Path, table: str) -> None:
    """Say how the cases ended, and end as they did.

    Raises:
        Cancelled: some were not finished.
        Exit: some failed.
    """
    for outcome in outcomes:
        for sentence in outcome.sentences:
            console.warning(f"{outcome.case.name}{' failed' if outcome.status == 'failed' else ''}: {sentence}")
    counts = Counter(o.status for o in outcomes)
    console.say(f"{', '.join(f'{n} {status}' for status, n in counts.items())}; see {output / table}.")
    console.say("Research use only.")
    console.event("result", output=str(output), cases=dict(counts))
    if counts["cancelled"]:
        raise Cancelled(f"Cancelled. Not finished: {counts['cancelled']} of {counted(len(outcomes), 'case')}.")
    if counts["failed"]:
        raise typer.Exit(1)
