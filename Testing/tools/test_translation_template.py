"""Every text of the panel and of the session can be translated, and the template holds it."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PANEL = [CHECKOUT / "DeepSegExtension" / "DeepSeg.py", *(CHECKOUT / "DeepSegExtension" / "DeepSegLib").glob("*.py")]
SESSION = (CHECKOUT / "DeepSegLogic" / "session").glob("*.py")
NOT_SHOWN = {"__init__.py", "doctor.py"}  # lines of the latter are for the command line and requests for help
TRANSLATED = {"_", "N_", "translate"}
TEXT = re.compile(r"[A-Za-z]{2,}[^A-Za-z]* [A-Za-z]|^[A-Z][a-z]+$|\. |[a-z]\.$|…")
TECHNICAL = re.compile(
    r"vtk|^pip download |\(\)|\(bool\)|^[\w ]*\((int|double|QString)\)|^https?:|^SHA256|^#|itemC|^timings in s"
)
NAMES = {
    "load model",
    "DeepSeg",
    "CTChest",
    "Lib",
    "Segmentations",
    "Settings",
    "Red",
    "The DeepSeg developers",
    "DeepSeg.",
    "DeepSeg correction",
}
"""Of modules, nodes, parameters and stages: not shown."""
OF_THE_LOG = {"write", "report", "setData", "AddNewNodeByClass", "GetSingletonNode", "SetSingletonTag", "getLogger"}
NOT_SHOWN_EITHER = {"registerSampleData", "DeepSegTest"}


@pytest.mark.parametrize("path", sorted({p for p in (*PANEL, *SESSION) if p.name not in NOT_SHOWN}), ids=str)
def test_every_text_passes_through_the_translation(path):
    assert _untranslated(ast.parse(path.read_text("utf-8"))) == []


def test_the_search_finds_texts_that_are_not_translated():
    code = (
        'def f(x):\n    """A docstring."""\n    a.text = f"Wait for {x} now."\n    b(_("Fine here"), "Cancel", "x_y")\n'
    )
    assert _untranslated(ast.parse(code)) == ["Wait for ", " now.", "Cancel"]


def _untranslated(tree):
    """Texts outside of docstrings, log lines and calls that translate."""
    found = []

    def visit(node):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in NOT_SHOWN_EITHER | OF_THE_LOG:
            return
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in TRANSLATED | OF_THE_LOG:
                return
        if isinstance(node, ast.arg) or node.__class__.__name__ in ("Import", "ImportFrom"):
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_text(node.value):
            found.append(node.value)

    visit(tree)
    return found


def _is_text(value):
    return bool(TEXT.search(value)) and value not in NAMES and not TECHNICAL.search(value)


def test_one_command_makes_the_template(tmp_path):
    target = tmp_path / "new" / "DeepSeg.ts"
    subprocess.run(
        [sys.executable, CHECKOUT / "Testing" / "tools" / "translation_template.py", target], check=True, timeout=60
    )
    contexts = {c.findtext("name"): [m.findtext("source") for m in c.iter("message")] for c in _contexts(target)}
    assert "Load a CT first." in contexts["DeepSegLogic"]
    assert "Liver surgery" in contexts["DeepSegLogic"]
    assert "Nothing to undo." in contexts["DeepSegLib.correctSection"]
    assert "Don't show this finding again" in contexts["DeepSeg"]  # of the form
    assert "The set-up failed." in contexts["DeepSeg"]  # of the module
    assert all(text.strip() and len(set(texts)) == len(texts) for texts in contexts.values() for text in texts)


def _contexts(path):
    return ElementTree.parse(path).getroot().iter("context")


def test_a_face_sets_the_language():
    code = (
        "from DeepSegLogic.util.i18n import set_translator; set_translator({'Load a CT first.': 'Erst ein CT.'}.get);"
        "from DeepSegLogic.session.choices import _; print(_('Load a CT first.'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.strip() == "Erst ein CT."
