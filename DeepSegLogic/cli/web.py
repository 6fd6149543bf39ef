"""``deepseg web``: the whole story in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, UsageError


def web(
    source: Annotated[
        Path | None,
        typer.Argument(help="CT to open: NIfTI, NRRD, MetaImage, a folder of DICOM slices, or a scene (.mrb)."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Nothing is encrypted: prefer an ssh tunnel.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Folder here from which the page may open volumes; without it, from none.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
) -> None:
    """Open DeepSeg in the browser; the link holds a token that nobody else knows."""
    import os
    import sys
    import webbrowser

    if source is not None and not source.exists():
        raise InputError(
            f"{source} does not exist.", "Give a CT file, a DICOM folder or a scene.", code="input.missing"
        )
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Give a folder with volumes.", code="input.missing")
    sys.argv[1:] = []  # trame reads the command line too, and this one is not meant for it
    os.environ["WSLINK_READY_MSG"] = ""
    try:
        from DeepSegWeb.app import WebApp
    except ImportError as error:
        raise UsageError(
            f"The page needs packages that are not installed ({error.name}).",
            'Run: pip install "deepseg[web]"',
            code="usage.extra",
        ) from error

    def ready(url: str) -> None:
        print(f"DeepSeg is at {url}\nStop with Ctrl+C. Research use only.", flush=True)
        if not no_browser:
            webbrowser.open(url)

    WebApp(source, folder).start(host, port, ready)
