"""The command line ``deepseg``: options in, calls of the logic layer, texts and exit codes out."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import typer

from ..util.errors import DeepSegError, OutputError
from ..util.openmp import openmp_settings
from .console import Console, ending_like_ctrl_c, print_error, print_in_any_encoding
from .help import without_types
from .remedies import WORDS
from .values import taken_simply

# ClickException, of Typer's own copy of click or of the package
_BadCommandLine = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

_COMMANDS = (
    *("segment", "cohort", "refine", "explain", "disagree", "surfaces", "measure", "plan", "train", "pretrain"),
    *("calibrate", "evaluate", "compare", "stress", "enhance", "enhance-train", "demo", "what", "estimate", "doctor"),
    *("serve", "web", "report", "detect", "evaluate-boxes"),
)
"""Each is the function of that name in the module of that name, or in one of :data:`_MODULES`."""

_GROUPS = ("models", "servers", "drafting", "tokens", "pacs", "adapt")
"""Commands of commands: each is the ``app`` of the module of that name, or of one of :data:`_MODULES`."""

_MODULES = {"enhance-train": "enhance", "evaluate-boxes": "detect", "tokens": "serve"}
_OF_MONAI = ("detect", "evaluate-boxes")


def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Organ segmentation and 3D organ models from CT."""
    if version:
        from ..util.version import __version__

        print(__version__)
        raise typer.Exit


@cache
def _command_line(only: str = "") -> Callable[..., object]:
    """The commands with their options, which take a while to import and to read from the signatures.

    Args:
        only: the name of one of them; empty for all.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Add --debug to any command to print the traceback of an error. Research use only.",
    )
    app.callback(invoke_without_command=True)(_root)
    for name in (name for name in (*_COMMANDS, *_GROUPS) if only in ("", name)):
        module = import_module(f".{_MODULES.get(name, name)}", __name__)
        if name in _GROUPS:
            app.add_typer(module.app, name=name)
        else:
            hidden = name in _OF_MONAI and find_spec("monai") is None
            app.command(name, hidden=hidden)(getattr(module, name.replace("-", "_")))
    return cast("Callable[..., object]", taken_simply(without_types(typer.main.get_command(app))))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (the README lists them)."""
    try:
        code = _run(arguments)
        if sys.stdout is not None:  # else Python writes what is left at its end, and no sentence tells of an error
            sys.stdout.flush()
    except OSError as error:  # of standard output; all others are told
        return _without_output(error)
    return code


def _run(arguments: list[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    as_json = "--json" in arguments
    print_in_any_encoding()
    try:
        first = arguments[0] if arguments else ""
        command = _command_line(first if first in (*_COMMANDS, *_GROUPS) else "")
        code = command(arguments, prog_name="deepseg", standalone_mode=False)
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
        if isinstance(error, OSError) and not _is_written():
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            longest = max(Path(str(error.filename)).parts, key=len, default="")
            sentence = f"The name {longest[:40]}… is too long: it has {len(os.fsencode(longest))} bytes."
            return print_error(as_json, "usage.name", sentence, "Choose a shorter name.", 2)
        from ..worker.error_mapping import explain

        told = explain(error)  # as panel and page do: memory ran out, the GPU was lost, a package is missing
        unknown = told.code == DeepSegError.code
        remedy = "Run again with --debug and report the output, with that of `deepseg doctor`."
        return print_error(as_json, told.code, told.message, remedy if unknown else told.remedy, told.exit_code)


def _is_written() -> bool:
    """Whether standard output takes what is printed."""
    try:
        if sys.stdout is not None:
            print(end=" ", flush=True)  # what was printed may be lost; a space changes no text, and no JSON
    except OSError:
        return False
    return True


def _without_output(error: OSError) -> int:
    """Tell that standard output cannot be written; returns the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it goes nowhere, without an error
    if error.errno in (errno.EPIPE, errno.EINVAL if os.name == "nt" else None):  # the reader of our output has gone
        return 130
    sentence = f"Standard output cannot be written ({error.strerror})."
    remedy = "Free some space, or send it elsewhere. Files that were written are complete."
    return print_error(False, "output.stdout", sentence, remedy, OutputError.exit_code)


def run() -> None:
    """Entry point of the console script."""
    os.environ.update(openmp_settings())
    with ending_like_ctrl_c():
        code = main()
    gc.freeze()  # else Python's end goes through all objects of all libraries several times
    sys.exit(code)
