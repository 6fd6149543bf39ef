"""``deepseg train --federated``: the options and the two ends of a training at several sites."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..util.errors import UsageError
from ..util.words import counted
from .console import Console, as_typed

if TYPE_CHECKING:
    import torch

    from ..training.checks import Report
    from ..training.federated.flower import Link
    from ..training.recipe import Recipe

_PANEL = "Training at several sites"


def _option(help: str, name: str = "", **rules: object) -> object:
    return typer.Option(*filter(None, [name]), help=help, rich_help_panel=_PANEL, **rules)  # type: ignore[arg-type]


Role = Annotated[str, _option("server or client: images stay at each site, weights travel.", metavar="ROLE")]
Address = Annotated[str, _option("HOST:PORT of the server.", metavar="ADDRESS")]
Rounds = Annotated[
    int, _option("Server: how often weights are averaged; --steps are those of a round.", min=1, metavar="N")
]
Sites = Annotated[int, _option("Server: sites to wait for before the first round.", min=1, metavar="N")]
WaitMinutes = Annotated[
    float, _option("Server: time of a round; later sites are left out of it.", min=0.01, metavar="MINUTES")
]
Proximal = Annotated[
    float, _option("Server: FedProx's mu, for sites that differ; 0 is FedAvg.", min=0, max=1000, metavar="MU")
]
Certificate = Annotated[
    Path | None, _option("PEM file: of the server; at a site, of the authority to trust.", metavar="FILE")
]
Key = Annotated[Path | None, _option("Server: key of the certificate, PEM file.", metavar="FILE")]
Clip = Annotated[float | None, _option("Client: largest norm of what is sent in a round.", min=1e-6, metavar="NORM")]
Noise = Annotated[
    float, _option("Client: noise on what is sent, relative to --clip.", min=0, max=1e6, metavar="FACTOR")
]


@dataclass(frozen=True)
class Federated:
    """The options of a training at several sites; ``steps`` are those of a round."""

    role: str = ""
    address: str = "127.0.0.1:8771"
    rounds: int = 20
    sites: int = 2
    wait_minutes: float = 60.0
    proximal: float = 0.0
    certificate: Path | None = None
    key: Path | None = None
    clip: float | None = None
    noise: float = 0.0
    steps: int = 100

    def check(self, unfit: Sequence[str]) -> None:
        """Check the options that do not go together.

        Args:
            unfit: options that were given and that the server decides, or that such a training does not have.

        Raises:
            UsageError: some do not.
            ResourceError: Flower is not installed.
        """
        if not self.role:
            given = [o for o, value in (("--clip", self.clip), ("--noise", self.noise), ("--key", self.key)) if value]
            if given:
                raise UsageError(
                    f"{given[0]} is for training at several sites.", "Add --federated.", code="usage.option"
                )
            return
        if self.role not in ("server", "client"):
            raise UsageError(f"There is no role {self.role!r}.", "Choose server or client.", code="usage.option")
        if unfit:
            what = "what the server decides" if self.role == "client" else "not part of a training at several sites"
            raise UsageError(f"{unfit[0]} is {what}.", "Leave it out.", code="usage.option")
        if self.noise and self.clip is None:
            raise UsageError("--noise is given without --clip.", "Give both.", code="usage.option")
        if self.role == "server" and self.clip is not None:
            raise UsageError("Sites clip what they send.", "Give --clip at the sites.", code="usage.option")
        from ..training.federated.flower import require_flower

        require_flower()
        self.link().check(server=self.role == "server")

    def link(self) -> Link:
        """The connection."""
        from ..training.federated.flower import TOKEN_VARIABLE, Link

        return Link(self.address, self.certificate, self.key, os.environ.get(TOKEN_VARIABLE, ""))


def run_server(console: Console, shared: Federated, recipe: Recipe, output: Path) -> None:
    """Serve, and say what came out of it."""
    from ..training.federated.server import serve
    from ..training.federated.state import ROUNDS, Terms
    from ..training.run import work_folder

    terms = Terms(shared.rounds, shared.sites, shared.steps, shared.proximal, shared.wait_minutes)
    console.say(f"Listening on {shared.address}. Sites take part with `deepseg train DATA --federated client`.")
    state = serve(recipe, output, shared.link(), terms, console.progress, console.cancelled)
    for sentence in state.warnings:
        console.warning(sentence)
    last = state.rounds[-1]
    console.say(
        f"\n{counted(last.number, 'round')}, {counted(last.sites, 'site')} in the last one, "
        f"Dice {last.dice:.3f} on your patches."
    )
    console.say(f"Model: {output}. Each round: {work_folder(output) / ROUNDS}.")
    console.event(
        "result",
        output=str(output),
        rounds=[vars(one) for one in state.rounds],
        dice=last.dice,
        warnings=state.warnings,
    )


def run_site(console: Console, shared: Federated, report: Report, output: Path, device: torch.device) -> None:
    """Take part, and say what was sent."""
    from ..training.federated.privacy import Privacy
    from ..training.federated.site import take_part

    privacy = None if shared.clip is None else Privacy(shared.clip, shared.noise)
    console.say("Weights and the number of your cases are sent to the server, images are not.")
    sent = take_part(
        report,
        output,
        shared.link(),
        privacy=privacy,
        device=device,
        seed=int.from_bytes(os.urandom(3), "big"),
        progress=console.progress,
        cancel=console.cancelled,
    )
    console.say(f"\nPrivacy of your images: {sent}.")
    console.say(f"Model: {output}. Use it with `deepseg segment IMAGE -o FOLDER -m {as_typed(output)}`.")
    console.event("result", output=str(output), sent=sent)
