"""``deepseg serve``: a worker for Python programs on other machines."""

from typing import Annotated

import typer

from ..util.errors import ResourceError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    token: Annotated[
        str,
        typer.Option(envvar="DEEPSEG_TOKEN", help="Password for clients; generated and printed by default."),
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines reach. Not encrypted.")
    ] = False,
) -> None:
    """Run segmentations for Python programs that connect over TCP, for example through an ssh tunnel.

    Set the token in DEEPSEG_TOKEN: other users of this machine can read the command line.
    """
    import secrets

    from ..worker.server import Server

    shown = token or secrets.token_urlsafe(24)
    server = Server(host, port, shown, allow_remote=allow_remote)
    print("Listening on {}:{}".format(*server.address))
    if not token:
        print(f"Token: {shown}")
    print("Stop with Ctrl+C.", flush=True)
    server.run()
    raise ResourceError(
        "The GPU stopped working. Only a new process can use it again.",
        "Start `deepseg serve` again.",
        code="resource.device_lost",
    )
