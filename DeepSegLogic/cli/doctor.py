"""``deepseg doctor``: is everything here that DeepSeg needs?"""

import typer

from .console import Console, Json, Quiet


def doctor(quiet: Quiet = False, as_json: Json = False) -> None:
    """Report versions, devices, memory and models, and how to mend what is missing."""
    from dataclasses import asdict

    from ..doctor import examine

    console = Console(quiet, as_json)
    findings = examine()
    for finding in findings:
        console.say(f"{finding.topic:<14}{finding.fact}")
        if finding.remedy:
            console.warning(f"{finding.topic}: {finding.remedy}")
        console.event("finding", **asdict(finding))
    if any(f.remedy for f in findings):
        raise typer.Exit(1)
