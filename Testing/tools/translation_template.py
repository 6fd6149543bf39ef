"""Writes the template for translators: all texts of the panel and of the session, as a Qt ``.ts`` file.

Run it with ``make i18n``. Texts are in the contexts in which Slicer looks for them: those of the panel's Python files
in the name of their file, those of the ``.ui`` file in its class, those of the session in ``DeepSegLogic``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).resolve().parents[2]
MARKERS = ("_", "N_")
PANEL = CHECKOUT / "DeepSegExtension"
SESSION = CHECKOUT / "DeepSegLogic" / "session"
UI = CHECKOUT / "Resources" / "UI" / "DeepSeg.ui"


def contexts() -> dict[str, list[str]]:
    """Context → texts, in order of appearance, each once."""
    found: dict[str, list[str]] = {}
    for path in (PANEL / "DeepSeg.py", *sorted((PANEL / "DeepSegLib").glob("*.py"))):
        package = f"{path.parent.name}." if path.with_name("__init__.py").exists() else ""
        found.setdefault(f"{package}{path.stem}", []).extend(_marked(path))
    for path in sorted(SESSION.glob("*.py")):
        found.setdefault("DeepSegLogic", []).extend(_marked(path))
    form = ElementTree.parse(UI).getroot()
    found.setdefault(form.findtext("class", ""), []).extend(_of_form(form))
    return {context: list(dict.fromkeys(texts)) for context, texts in found.items() if texts}


def _marked(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def _of_form(form: ElementTree.Element) -> Iterator[str]:
    for element in form.iter("string"):
        if element.text and element.get("notr") != "true":
            yield element.text


def write(target: Path) -> int:
    """Write the template; returns the number of texts."""
    root, count = ElementTree.Element("TS", version="2.1", sourcelanguage="en"), 0
    for name, texts in contexts().items():
        context = ElementTree.SubElement(root, "context")
        ElementTree.SubElement(context, "name").text = name
        for text in texts:
            message = ElementTree.SubElement(context, "message")
            ElementTree.SubElement(message, "source").text = text
            ElementTree.SubElement(message, "translation", type="unfinished")
            count += 1
    ElementTree.indent(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{ElementTree.tostring(root, "unicode")}\n', "utf-8"
    )
    return count


if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(f"{write(path)} texts are in {path}.")
