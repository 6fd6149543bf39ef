"""Which room of ``DeepSegLogic`` may import which: an arrow points one way only. See ``docs/architecture.md``."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
# From those that know nobody to those that know everybody. A file at the top level is a room of its own.
ROOMS = (
    *("util", "data", "io", "networks", "models", "classify", "inference", "training", "refinement", "surfaces"),
    *("review", "planning", "segmentation", "enhance", "results", "evaluation", "followup", "detection", "drafting"),
    *("adaptation", "worker", "remote"),
    *("session", "cohort", "service", "cli"),
)
MODULES = {
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (CHECKOUT / "DeepSegLogic").rglob("*.py")
}
IN_ROOMS = sorted(module for module in MODULES if module != "DeepSegLogic")
FACES = {"qt", "ctk", "slicer", "PySide6", "trame", "trame_slicer", "DeepSegLib", "DeepSegWeb", "DeepSeg"}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(module: str, *, at_the_top: bool = False) -> Iterator[str]:
    """Absolute names of what a module imports; also in functions and for types, unless ``at_the_top``."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*parts, *filter(None, [node.module])])
            yield from (full if (full := f"{source}.{name.name}") in MODULES else source for name in node.names)


def test_every_room_has_its_place():
    assert {room_of(module) for module in IN_ROOMS} <= set(ROOMS)


@pytest.mark.parametrize("module", IN_ROOMS)
def test_a_room_imports_only_rooms_below_it(module):
    own = [name for name in imports(module) if name in MODULES]
    assert "DeepSegLogic" not in own, "the package itself offers names of all rooms"
    assert not [name for name in own if ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))]


def test_no_two_modules_import_each_other():
    """While they are imported: what functions import later is not looked at."""
    graph = {module: {n for n in imports(module, at_the_top=True) if n in MODULES} - {module} for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


@pytest.mark.parametrize("module", IN_ROOMS)
def test_the_logic_layer_knows_no_face(module):
    """`deepseg web` and `deepseg doctor` start or look for one, on demand."""
    if module not in {"DeepSegLogic.cli.web"}:
        assert not {name.split(".")[0] for name in imports(module)} & FACES


STUBBED = [
    module for module, path in MODULES.items() if path.name == "__init__.py" and path.with_suffix(".pyi").exists()
]


@pytest.mark.parametrize("module", STUBBED)
def test_a_room_with_a_stub_offers_its_names_and_no_module_hides_one(module):
    """A module would: once it is imported, its name in the room is the module."""
    room = import_module(module)
    for name in room.__all__:
        assert hasattr(room, name)
    assert not {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == module} & set(room.__all__)
    assert not hasattr(room, "nothing_of_this_name")


@pytest.mark.parametrize("module", ["DeepSegLogic.session.session", "DeepSegLogic.cli"])
def test_what_starts_panel_page_and_commands_imports_nothing_heavy(module):
    code = (
        f"import sys, {module}; print(*{{'torch', 'SimpleITK', 'requests', 'scipy', 'vtkmodules'}} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert ran.stdout.split() == []
