"""``deepseg servers``: the servers that volumes may be sent to."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..util.errors import DeepSegError, UsageError
from .console import somebody_there

app = typer.Typer(help="Save, list and remove servers that may segment for you.", no_args_is_help=True)

Url = Annotated[str, typer.Argument(metavar="URL", help="Such as https://gpu.example:8766.")]


@app.command()
def add(
    url: Url,
    fingerprint: Annotated[
        str, typer.Option(metavar="FINGERPRINT", help="Of its certificate, as `deepseg serve` prints it.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to what is sent, without being asked.")] = False,
) -> None:
    """Save a server: compare its certificate, agree to what is sent, and keep the token in the system's key store."""
    from ..remote.connection import presented_fingerprint
    from ..remote.known import TOKEN_VARIABLE, WHAT_LEAVES, KnownServers, keep_token
    from ..util.address import Address

    address = Address.of(url)
    pin = _compared(address.url, presented_fingerprint(address), fingerprint, yes)
    print(WHAT_LEAVES.format(url=address.url))
    if not yes:
        _ask("Do you agree?", "--yes agrees.")
    KnownServers().save(address.url, pin)
    if os.environ.get(TOKEN_VARIABLE):
        print(f"Saved. The token comes from {TOKEN_VARIABLE}.")
    elif not somebody_there():
        print(f"Saved. Set the token in {TOKEN_VARIABLE}.")
    elif keep_token(address.url, typer.prompt("Token", hide_input=True)):
        print("Saved, with the token in the system's key store.")
    else:
        print(f"Saved. This system has no key store: set the token in {TOKEN_VARIABLE}.")


@app.command("list")
def list_servers() -> None:
    """List the saved servers."""
    from ..remote.known import KnownServers

    for url, pin in KnownServers().all().items():
        print(f"{url}  {pin}".rstrip())


@app.command()
def remove(url: Url) -> None:
    """Forget a server and its token."""
    from ..remote.known import KnownServers

    KnownServers().remove(url)


def _compared(url: str, shown: str, told: str, yes: bool) -> str:
    """The fingerprint to pin; empty for plain HTTP, and for certificates that an authority signed.

    Raises:
        UsageError: it is another one than the user was told, or nobody can compare it.
    """
    from ..remote.connection import Connection, same_fingerprint

    if told:
        if not same_fingerprint(told, shown):
            raise UsageError(
                f"{url} shows another certificate ({shown or 'none'}).",
                "Ask whoever runs it; somebody may be listening.",
                code="usage.certificate",
            )
        return shown
    if not shown:
        return ""
    try:
        Connection(url, "", patience_s=0.0).ask("GET", "/about")
        return ""
    except DeepSegError as error:
        if error.code != "usage.certificate":
            raise
    print(f"No authority that this machine knows signed the certificate. Its fingerprint:\n{shown}")
    if yes:
        raise UsageError("Nobody compared the fingerprint.", "Give it with --fingerprint.", code="usage.certificate")
    _ask("Does the server print the same?", "--fingerprint compares it.")
    return shown


def _ask(question: str, otherwise: str) -> None:
    if not somebody_there():
        raise UsageError("Nobody can be asked.", otherwise, code="usage.servers")
    typer.confirm(question, abort=True)
