"""``deepseg drafting``: the language model that drafts reports."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import Console

app = typer.Typer(help="Set up the language model that drafts reports.", no_args_is_help=True)


@app.command("set")
def set_up(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of Ollama, llama.cpp or vLLM, such as http://127.0.0.1:11434/v1.")
    ],
    language_model: Annotated[str, typer.Option(metavar="NAME", help="Its name there.")] = "medgemma",
    vision: Annotated[bool, typer.Option("--vision", help="The model sees: send it the key slices.")] = False,
    other_host: Annotated[bool, typer.Option("--other-host", help="Allow another computer, over https.")] = False,
) -> None:
    """Keep the address and the name of a language model for this user."""
    from ..drafting.endpoint import Endpoint, configure

    endpoint = Endpoint(url, language_model, other_host, vision)
    configure(endpoint)
    if endpoint.warning:
        Console().warning(endpoint.warning)
    print(f"{endpoint.model} at {endpoint.url} drafts reports.")


@app.command()
def show() -> None:
    """Print what is set up."""
    from ..drafting.endpoint import the_endpoint

    endpoint = the_endpoint()
    print(f"{endpoint.model} at {endpoint.url}{', with pictures' if endpoint.pictures else ''}")


@app.command()
def off() -> None:
    """Draft no reports any more."""
    from ..drafting.endpoint import configure

    configure(None)
