"""``deepseg web``: DeepSeg in the browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..util.errors import InputError, UsageError
from ..util.version import how_to_install
from .options import Port


def web(
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE", help="CT to open: NIfTI, NRRD, MetaImage, a folder of DICOM slices, or a scene (.mrb)."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on. Not encrypted: an ssh tunnel is safer.")
    ] = "127.0.0.1",
    port: Port = 0,
    volumes: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder on this machine from which the page may open volumes. Default: none."
        ),
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="Let the page use the archive (PACS) that the environment names.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
) -> None:
    """Open DeepSeg in the browser. Only the printed link, with its token, gives access."""
    import gc
    import os
    import sys
    from threading import Thread

    if image is not None and not (image.is_file() or image.is_dir()):
        what = "is neither a file nor a folder" if image.exists() else "does not exist"
        raise InputError(f"{image} {what}.", "Give a CT file, a DICOM folder or a scene.", code="input.missing")
    if volumes is not None and not volumes.is_dir():
        raise InputError(f"{volumes} is not a folder.", "Give a folder with volumes.", code="input.missing")
    if archive:
        from ..io.dicom.archive_settings import ArchiveSettings
        from ..io.dicom.web_archive import Archive

        Archive(ArchiveSettings.from_environment())  # raises now what is wrong with the settings
    print("DeepSeg is starting.", flush=True)  # loading takes seconds
    sys.argv[1:] = []  # trame parses the command line, too
    os.environ["WSLINK_READY_MSG"] = ""
    gc.disable()  # libraries are no garbage, and collecting goes through all of them again and again
    try:
        from DeepSegWeb.app import WebApp  # type: ignore[import-untyped]  # only DeepSegLogic is typed

        app = WebApp(image, volumes, archive)
    except ImportError as error:
        raise UsageError(
            f"The page needs packages that are not installed ({error.name}).",
            how_to_install("web"),
            code="usage.extra",
        ) from error
    finally:
        gc.freeze()
        gc.enable()

    def ready(link: str, one_time_link: Callable[[], str]) -> None:
        print(f"DeepSeg is at {link}\nStop with Ctrl+C. Research use only.", flush=True)
        if not no_browser:  # some browsers return only when they are closed
            Thread(target=_open_browser, args=[one_time_link()], daemon=True).start()

    app.start(host, port, ready)


def _open_browser(link: str) -> None:
    import webbrowser

    try:
        opened = webbrowser.open(link)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print("No browser could be opened. Open the link above.", flush=True)
