"""``deepseg doctor``: check this machine for what DeepSeg needs."""

from pathlib import Path
from typing import Annotated

import typer

from .console import Console
from .options import Json, Quiet
from .remedies import WORDS


def doctor(
    results: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULTS", help="Folders of results in which to clear up after interrupted runs, too."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check versions, devices, memory and models, say how to fix problems, and clear up after interrupted runs."""
    from ..session.doctor import examine

    console = Console(quiet, as_json)
    checks = examine(*(results or []))
    for check in checks:
        remedy = f"{check.remedy} {WORDS[check.action] if check.action else ''}".strip()
        console.say(f"{check.topic:<14}{check.fact}")
        if remedy:
            console.warning(f"{check.topic}: {remedy}")
        console.event("finding", topic=check.topic, fact=check.fact, remedy=remedy)
    if any(check.remedy for check in checks):
        raise typer.Exit(1)
