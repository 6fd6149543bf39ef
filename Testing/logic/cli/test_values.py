"""Values of options: those that DeepSeg takes itself are the ones that Typer would make of them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from DeepSegLogic.cli import _command_line
from DeepSegLogic.cli.help import all_parameters
from DeepSegLogic.cli.values import taken_simply

TYPED = [
    "",
    "text",
    "7",
    "-0.5",
    "1e9",
    "true",
    "2026-11-30",
    "~/a b.nii.gz",
    "/",
    ".",
    "./a/../b",
    "ü",
    "a,b",
    "n" * 999,
]
PARAMETERS = [p for p in all_parameters(_command_line()) if hasattr(p, "get_runtime_param")]
ONE = {(repr(p.type_descriptor), repr(p.default), p.nargs): p for p in PARAMETERS}
"""One of each kind."""


def outcome(conversion, value, parameter, context):
    try:
        found = conversion.coerce(value, param=parameter, ctx=context)
    except typer.BadParameter as error:
        return error.format_message()
    return type(found), found


@pytest.mark.skipif(not PARAMETERS, reason="a Typer without pydantic")
@pytest.mark.parametrize("locked", [False, True])
def test_values_are_those_of_typer(tmp_path, monkeypatch, locked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").touch()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and (mode != os.R_OK or not locked))
    context = typer.Context(_command_line())
    refused = 0
    for parameter in ONE.values():
        several = parameter.multiple or parameter.nargs == -1
        typed = [(text, text) for text in TYPED] if several else TYPED
        for value in (None, parameter.default, *typed):
            own = outcome(parameter.get_runtime_param(), value, parameter, context)
            typers = outcome(type(parameter).get_runtime_param(parameter), value, parameter, context)
            assert own == typers, (parameter.name, value)
            refused += isinstance(own, str)
    assert len(ONE) > 100
    assert refused > 100  # ranges and numbers are still checked


def test_a_typer_that_converts_by_another_name_converts_itself(monkeypatch):
    parameter = SimpleNamespace(
        type_descriptor=SimpleNamespace(annotation=str, parameter_info=None),
        get_runtime_param=lambda *_: SimpleNamespace(converted=str.upper),
    )
    monkeypatch.setattr("DeepSegLogic.cli.values.all_parameters", lambda _: [parameter])
    taken_simply(None)
    assert parameter.get_runtime_param("context").converted("a") == "A"


@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["measure", "--help"], ["segment", "--help"], ["what", "none"], ["web", "none"]]
)
def test_short_commands_do_not_import_pydantic(arguments):
    code = f"import sys; from DeepSegLogic.cli import main; main({arguments}); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.splitlines()[-1] == "False"
