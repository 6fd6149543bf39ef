"""The start of the page does nothing twice, and what it makes is the same."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(100)

LIBRARIES = """
from pathlib import Path
import vtkmodules

paths, search, listed = list(vtkmodules.__path__), vtkmodules.find_lib_path, []
names = sorted({f.name.partition(".")[0] for f in Path(paths[0]).glob("vtk*") if f.suffix in (".so", ".pyd")})
expected = [search(paths, name) for name in names]
import DeepSegWeb
glob = Path.glob
Path.glob = lambda *a: listed.append(a) or glob(*a)
assert [str(Path(vtkmodules.find_lib_path(paths, name)).resolve()) for name in names] == expected and len(names) > 100
assert not listed, "the folder is searched for each library"
assert vtkmodules.find_lib_path(paths, "nothing") is None
"""

PAGE = """
import re
import sys
from contextlib import nullcontext
from trame_client.widgets.core import AbstractElement
import DeepSegWeb.app, DeepSegWeb.page

if sys.argv[1] == "again":
    DeepSegWeb.page.rendered_once = nullcontext
rendered, html = [], AbstractElement.html.fget
AbstractElement.html = property(lambda element: rendered.append(element) or html(element))
page = DeepSegWeb.app.WebApp().state["trame__template_main"]
print(len(rendered))
print(re.sub(r"trigger__[0-9]+", "trigger", page))
"""


def test_libraries_are_found_where_vtk_finds_them():
    pytest.importorskip("vtkmodules", reason="needs the extra `web`")
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)


def test_a_page_is_rendered_once():
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    printed = [
        subprocess.check_output([sys.executable, "-c", PAGE, how], encoding="utf-8") for how in ("once", "again")
    ]
    (once, page), (often, same) = (text.split("\n", 1) for text in printed)
    assert page == same and len(page) > 10_000
    assert int(once) < int(often) / 3
