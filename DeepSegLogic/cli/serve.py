"""``deepseg serve`` and ``deepseg tokens``: lend this machine's GPU to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..util.device_names import check_device_name
from ..util.errors import UsageError
from ..util.hosts import is_loopback
from ..util.version import how_to_install
from .options import Port

if TYPE_CHECKING:
    from ..service.users import Users

app = typer.Typer(help="Make, list and revoke the tokens of `deepseg serve`.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Folder of the server. Default: in the user's data folder.")
]
User = Annotated[str, typer.Argument(metavar="USER", help="Name of a user: lower-case letters, digits, - and _.")]


def serve(
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; 0.0.0.0 for all. With TLS unless it is local.")
    ] = "127.0.0.1",
    port: Port = 8766,
    folder: Folder = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate, PEM. Default: one made here.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS on a local address, too.")] = False,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="A device to use, such as cuda:0. Repeat for several. Default: all GPUs."),
    ] = None,
    keep_hours: Annotated[
        float, typer.Option(min=0.01, metavar="HOURS", help="Delete unused volumes and old jobs after this time.")
    ] = 24,
    quota_gb: Annotated[float, typer.Option(min=0.001, metavar="GB", help="Room for each user's volumes.")] = 20,
    largest_gb: Annotated[float, typer.Option(min=0.001, metavar="GB", help="The largest volume.")] = 4,
) -> None:
    """Segment for other machines: the command line, Python and curl can use it. See docs/server.md."""
    try:
        from ..service.certificate import own_certificate
        from ..service.serving import find_devices
        from ..service.serving import serve as run
        from ..service.settings import Settings, default_folder
    except ModuleNotFoundError as error:
        raise _missing(error) from error

    if (certificate is None) != (key is None):
        raise UsageError("Certificate and key belong together.", "Give both, or none.", code="usage.tls")
    for name in device or []:
        check_device_name(name)
    place = folder or default_folder()
    pair = (certificate, key) if certificate and key else None
    if pair is None and (tls or not is_loopback(host)):
        pair = own_certificate(place)
    settings = Settings(
        place,
        find_devices(device or ()),
        keep_s=keep_hours * 3600,
        quota=round(quota_gb * 1e9),
        largest=round(largest_gb * 1e9),
    )

    def ready(address: str, fingerprint: str) -> None:
        print(f"Listening on {address}")
        if fingerprint:
            print(f"Fingerprint: {fingerprint}")
        print(f"Devices: {', '.join(settings.devices)}")
        if not _users(place).made():
            print("Nobody has a token yet: `deepseg tokens add NAME` makes one.")
        print("Stop with Ctrl+C. Research use only.", flush=True)

    run(settings, host, port, pair, ready)


@app.command()
def add(user: User, folder: Folder = None) -> None:
    """Make a token and print it, this once."""
    print(_users(folder).add(user))


@app.command("list")
def list_users(folder: Folder = None) -> None:
    """List who has a token, and since when."""
    for name, made in _users(folder).made().items():
        print(f"{name}  {made}")


@app.command()
def revoke(user: User, folder: Folder = None) -> None:
    """Make a user's token worthless, at once."""
    _users(folder).revoke(user)


def _users(folder: Path | None) -> Users:
    from ..service.settings import default_folder
    from ..service.users import Users

    return Users(folder or default_folder())


def _missing(error: ModuleNotFoundError) -> UsageError:
    return UsageError(
        f"The server needs packages that are not installed ({error.name}).",
        how_to_install("server"),
        code="usage.extra",
    )
