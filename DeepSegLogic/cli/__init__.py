"""The command line ``deepseg``: a thin face on the calls of the logic layer."""

from __future__ import annotations

import sys
import traceback

import typer

from ..errors import DeepSegError
from . import models
from .cohort import cohort
from .console import Console, ending_like_ctrl_c, print_error
from .demo import demo
from .doctor import doctor
from .estimate import estimate
from .refine import refine
from .report import report
from .segment import segment
from .serve import serve
from .surfaces import surfaces
from .web import web

_BadCommandLine = typer.BadParameter.__mro__[2]  # ClickException: typer brings a click of its own, or the package

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Add --debug to any command to see where an error came from. For research use only.",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Organ segmentation and 3D organ models from CT."""
    if version:
        from .. import __version__

        print(__version__)
        raise typer.Exit


for command in (segment, cohort, refine, surfaces, demo, estimate, doctor, serve, web, report):
    app.command()(command)
app.add_typer(models.app, name="models")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (see the README for what each one means)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its code instead
        if stream is not None:  # None where it was closed, as by `>&-`
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="deepseg", standalone_mode=False)
        if code == 130:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except _BadCommandLine as error:
        error.show()
        Console(as_json=as_json).event(
            "error", code="usage", message=error.format_message(), remedy="See `deepseg --help`.", exit_code=2
        )
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return print_error(as_json, "cancelled", "Cancelled.", "", 130)
    except SystemExit:  # typer's answer when the reader of our output has gone, e.g. `deepseg … | head`
        return 130
    except DeepSegError as error:
        if debug:
            traceback.print_exc()
        return print_error(as_json, error.code, error.message, error.remedy, error.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        sentence = f"Something unforeseen went wrong ({type(error).__name__}: {error})."
        remedy = "Run again with --debug and report what it prints, with the output of `deepseg doctor`."
        return print_error(as_json, "internal", sentence, remedy, 1)


def run() -> None:
    """The console script."""
    with ending_like_ctrl_c():
        code = main()
    sys.exit(code)
