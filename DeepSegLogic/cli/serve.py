"""``deepseg serve``: lend this machine's GPU to DeepSeg on another one."""

from typing import Annotated

import typer

from ..errors import ResourceError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    token: Annotated[
        str,
        typer.Option(envvar="DEEPSEG_TOKEN", help="What clients must show; made up and printed if not given."),
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen where other machines reach it. Nothing is encrypted.")
    ] = False,
) -> None:
    """Segment for DeepSeg clients that connect over TCP, e.g. through an ssh tunnel.

    Set the token in DEEPSEG_TOKEN rather than on the command line, which other users of the machine can read.
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
        "The GPU stopped working, and only a new process gets it back.",
        "Start `deepseg serve` again.",
        code="resource.device_lost",
    )
