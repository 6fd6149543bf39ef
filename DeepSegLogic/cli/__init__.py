"""The command line ``deepseg``: options in, calls of the logic layer, texts and exit codes out."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import cast

import typer

from ..util.errors import DeepSegError
from ..util.openmp import openmp_settings
from . import adapt, models, pacs
from .calibrate import calibrate
from .cohort import cohort
from .compare import compare
from .console import Console, ending_like_ctrl_c, print_error
from .demo import demo
from .detect import detect, evaluate_boxes
from .disagree import disagree
from .doctor import doctor
from .drafting import app as drafting
from .enhance import enhance, enhance_train
from .estimate import estimate
from .evaluate import evaluate
from .explain import explain
from .help import without_types
from .measure import measure
from .plan import plan
from .pretrain import pretrain
from .refine import refine
from .remedies import WORDS
from .report import report
from .segment import segment
from .serve import app as tokens
from .serve import serve
from .servers import app as servers
from .stress import stress
from .surfaces import surfaces
from .train import train
from .web import web
from .what import what

# ClickException, of Typer's own copy of click or of the package
_BadCommandLine = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Add --debug to any command to print the traceback of an error. Research use only.",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Organ segmentation and 3D organ models from CT."""
    if version:
        from ..util.version import __version__

        print(__version__)
        raise typer.Exit


_COMMANDS = (
    *(segment, cohort, refine, explain, disagree, surfaces, measure, plan, train, pretrain, calibrate, evaluate),
    *(compare, stress, enhance, enhance_train, demo, what, estimate, doctor, serve, web, report),
)
for command in _COMMANDS:
    app.command()(command)
app.command(hidden=find_spec("monai") is None)(detect)
app.command(hidden=find_spec("monai") is None)(evaluate_boxes)
app.add_typer(models.app, name="models")
app.add_typer(servers, name="servers")
app.add_typer(drafting, name="drafting")
app.add_typer(tokens, name="tokens")
app.add_typer(pacs.app, name="pacs")
app.add_typer(adapt.app, name="adapt")


@cache
def _command_line() -> Callable[..., object]:
    """The commands with their options, which take a while to read from the signatures."""
    return cast("Callable[..., object]", without_types(typer.main.get_command(app)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (the README lists them)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):  # characters that the terminal cannot show are escaped
        if isinstance(stream, TextIOWrapper):  # it is None if it was closed, as by `>&-`
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _command_line()(arguments, prog_name="deepseg", standalone_mode=False)
        if code == 130:  # Typer's code for Ctrl-C
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
    except SystemExit:  # by Typer when the reader of our output has gone, as in `deepseg … | head`
        return 130
    except DeepSegError as error:
        if debug:
            traceback.print_exc()
        return print_error(as_json, error.code, error.message, error.remedy_in(WORDS), error.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            longest = max(Path(str(error.filename)).parts, key=len, default="")
            sentence = f"The name {longest[:40]}… is too long: it has {len(os.fsencode(longest))} bytes."
            return print_error(as_json, "usage.name", sentence, "Choose a shorter name.", 2)
        sentence = f"Unexpected error ({type(error).__name__}: {error})."
        remedy = "Run again with --debug and report the output, with that of `deepseg doctor`."
        return print_error(as_json, "internal", sentence, remedy, 1)


def run() -> None:
    """Entry point of the console script."""
    os.environ.update(openmp_settings())
    with ending_like_ctrl_c():
        code = main()
    sys.exit(code)
