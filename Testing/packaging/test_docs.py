"""The docs site builds without a warning, and the docs name only what is there."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import DeepSegLogic
from DeepSegLogic.cli import _command_line
from DeepSegLogic.cli.help import all_commands

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the docs tools (extra docs)")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=CHECKOUT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api" / "index.html").read_text("utf-8")
    assert 'id="DeepSegLogic.segmentation.segment"' in api
    assert "<blockquote>" not in api, "an example is shown as a quotation"
    loaded = re.findall(r'<(?:script|img)[^>]+src="(https?:[^"]+)"', api) + re.findall(
        r'<link[^>]+rel="stylesheet"[^>]+href="(https?:[^"]+)"', api
    )
    assert not loaded, "the site loads something from elsewhere"


def test_the_api_page_says_from_where_each_name_is_imported():
    """From ``DeepSegLogic``, or from what the line above says; and it has all public names."""
    home, told = DeepSegLogic, set()
    for line in (CHECKOUT / "docs" / "api.md").read_text("utf-8").splitlines():
        if line.startswith("#"):
            home = DeepSegLogic
        elif said := re.search(r"[Ff]rom `(DeepSegLogic[\w.]*)`:$", line):
            home = importlib.import_module(said[1])
        elif line.startswith("::: "):
            parent, _, name = line.removeprefix("::: ").rpartition(".")
            shown = getattr(importlib.import_module(parent), name, None)
            if shown is None or isinstance(shown, ModuleType):
                shown = importlib.import_module(f"{parent}.{name}")
                told |= set(vars(shown))
            else:
                assert getattr(home, name) is shown, line
                told.add(name)
    assert {*DeepSegLogic.__all__} - told == {"__version__"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    """Paths in code style that begin with a folder of this repository; the changelog tells of the past."""
    if page.name == "CHANGELOG.md":
        pytest.skip("tells of the past")
    folders = "DeepSegLogic|DeepSegExtension|Resources|Testing|docs"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text("utf-8"))
    assert not [path for path in named if not (CHECKOUT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_a_page_names_exist(page):
    """Each `deepseg COMMAND --option`, in code style or in a block of code; the changelog tells of the past."""
    if page.name == "CHANGELOG.md":
        pytest.skip("tells of the past")
    assert not unknown_options(page.read_text("utf-8"))


def test_options_that_texts_of_the_program_name_exist():
    """In docstrings, errors, help and remedies: `deepseg COMMAND --option` in code style."""
    sources = sorted([*CHECKOUT.glob("DeepSegLogic/**/*.py"), *CHECKOUT.glob("DeepSegExtension/**/*.py")])
    named = {path: re.findall(r"`(deepseg [^`]+)`", path.read_text("utf-8")) for path in sources}
    assert sum(map(len, named.values())) > 50
    assert not {path.name: wrong for path in sources if (wrong := unknown_options("\n".join(named[path])))}


def unknown_options(text):
    """What a text names of the form ``deepseg COMMAND --option`` that is no option of that command."""
    commands = dict(all_commands(_command_line()))
    wrong = []
    for line in re.findall(r"\bdeepseg (\w[^`|#;&\n]*)", text.replace("\\\n", " ")):
        words = line.split()
        path = max((path for path in commands if tuple(words[: len(path)]) == path), key=len)
        known = {name for parameter in commands[path].params for name in parameter.opts} | {"--help", "-h", "--debug"}
        given = [re.sub(r"[=,.:)].*$", "", word) for word in words if re.match(r"--?[a-zA-Z]", word)]
        wrong += [f"deepseg {' '.join(path)} {name}" for name in given if name not in known]
    return wrong


@pytest.mark.parametrize("page", [*PAGES, *CHECKOUT.glob("Testing/*/*.md")], ids=lambda page: page.name)
def test_scripts_that_a_page_runs_get_what_they_require(page):
    """`python Testing/….py --option`, in code style: these options exist, and none lacks that must be given."""
    for command in re.findall(r"`(?:\w+=\S+ )*python (Testing/[^`]+)`", page.read_text("utf-8")):
        script, *words = command.split()
        given, known, required = {word for word in words if word.startswith("--")}, set(), set()
        for call in ast.walk(ast.parse((CHECKOUT / script).read_text("utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
                name = str(call.args[0].value)
                known.add(name)
                if any(word.arg == "required" and word.value.value for word in call.keywords):
                    required.add(name)
        assert required <= given <= known, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_installs_deepseg_from_an_index(page):
    """It is on none: whoever takes the name there would be installed."""
    assert not re.findall(r"pip install [^`\n]*deepseg", page.read_text("utf-8"))


def test_each_fault_of_a_server_has_its_test():
    text = (CHECKOUT / "docs" / "server.md").read_text("utf-8")
    faults = re.findall(r"^\| .* \| .* \| (`.*) \|$", text.partition("## What goes wrong")[2], re.M)
    files = [*(CHECKOUT / "Testing/logic/service").glob("*.py"), *(CHECKOUT / "Testing/logic/cohort").glob("*.py")]
    tests = re.findall(r"^def test_(\w+)", "\n".join(file.read_text("utf-8") for file in files), re.M)
    named = re.findall(r"`(\w+)`", "\n".join(faults))
    assert len(faults) > 20 and not [name for name in named if not any(name in test for test in tests)]
