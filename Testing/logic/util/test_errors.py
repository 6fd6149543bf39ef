"""What an error carries, where it goes, and that no library text speaks the language of one face."""

import ast
import json
import pickle
import re
from pathlib import Path
from typing import get_args

import pytest

from DeepSegLogic.cli import main
from DeepSegLogic.util.errors import (
    ACTION_DETAILS,
    Action,
    DeepSegError,
    ModelError,
    checked_action,
    first_line,
    last_line,
)
from DeepSegLogic.worker.channel import ProtocolError
from DeepSegLogic.worker.error_mapping import from_message, to_message

CHECKOUT = Path(__file__).resolve().parents[3]
SOURCES = sorted(p for room in ("DeepSegLogic", "DeepSegExtension") for p in (CHECKOUT / room).rglob("*.py"))
LIBRARY = [p for p in SOURCES if p.relative_to(CHECKOUT).parts[:2] != ("DeepSegLogic", "cli")]
OF_THE_COMMAND_LINE = re.compile(r"(?<![\w-])--[a-z]|\bdeepseg [a-z]+\b|\bpip install\b")


def untrusted():
    return ModelError(
        "The model lab was not run.",
        "Trust it.",
        code="model.untrusted",
        action="trust_model",
        model="lab",
        folder="/m",
    )


def carried(error):
    return error.code, error.message, error.remedy, error.action, error.details


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda error: pickle.loads(pickle.dumps(error)),
        lambda error: from_message(json.loads(json.dumps(to_message(error)))),
    ],
    ids=["pickle", "worker"],
)
def test_an_error_crosses_processes_whole(elsewhere):
    error = elsewhere(untrusted())
    assert type(error) is ModelError and carried(error) == carried(untrusted())


def test_an_error_of_another_signature_crosses_processes_whole():
    error = ProtocolError("Unknown message.")
    error.action = "start_service"
    assert carried(pickle.loads(pickle.dumps(error))) == carried(error)


@pytest.mark.parametrize(
    "action, details",
    [
        ("dance", {}),
        ("trust_model", {"model": "lab"}),
        ("trust_model", {"model": "lab", "folder": 3}),
        ("trust_model", None),
        (["trust_model"], {}),
        (None, {}),
    ],
)
def test_an_action_from_elsewhere_that_is_unknown_is_left_out(action, details):
    assert checked_action(action, details) == (None, {})


def test_details_from_elsewhere_are_those_of_the_action():
    assert checked_action("choose_model", {"message": "x"}) == ("choose_model", {})


def test_the_command_line_says_how(monkeypatch, capsys):
    def fail(_arguments, **_options):
        raise untrusted()

    monkeypatch.setattr("DeepSegLogic.cli._command_line", lambda only: fail)
    assert main([]) == 4
    assert (
        capsys.readouterr().err == "Error: The model lab was not run. Trust it. Run `deepseg models trust /m` once.\n"
    )


def test_details_belong_to_actions():
    assert set(ACTION_DETAILS) <= set(get_args(Action))


def test_every_error_gives_the_details_of_its_action():
    ordinary, found = {"code", "action", "remedy", "message"}, 0
    for path in SOURCES:
        for call in (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)):
            keywords = {k.arg: k.value for k in call.keywords}
            named = isinstance(call.func, ast.Name) and call.func.id.endswith("Error")
            if named and isinstance(keywords.get("action"), ast.Constant):  # else it passes on another error's
                action, found = ast.literal_eval(keywords["action"]), found + 1
                assert keywords.keys() - ordinary == set(ACTION_DETAILS.get(action, ())), f"{path}:{call.lineno}"
                assert action in get_args(Action), f"{path}:{call.lineno}"
    assert found > 5


def test_no_library_text_speaks_of_the_command_line():
    found = {path: texts for path in LIBRARY if (texts := _command_line_texts(path))}
    del found[CHECKOUT / "DeepSegLogic" / "util" / "version.py"]  # whose words depend on how DeepSeg runs
    assert not found


def _command_line_texts(path):
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, _DOCUMENTED)}
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    sentences = (t for t in texts if " " in t and t not in docstrings and "pip download" not in t)  # that is its own
    return [text for text in sentences if OF_THE_COMMAND_LINE.search(text)]


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_the_base_class_speaks_to_a_python_user():
    assert str(untrusted()) == "The model lab was not run. Trust it."
    assert str(DeepSegError("Broken.")) == "Broken."


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (RuntimeError("Error(s) in loading:\n\tsize mismatch\n"), "Error(s) in loading:", "size mismatch"),
        (MemoryError(), "MemoryError", "MemoryError"),
        (ValueError(" \n"), "ValueError", "ValueError"),
    ],
)
def test_a_line_of_an_error_is_never_empty(error, first, last):
    assert (first_line(error), last_line(error)) == (first, last)
