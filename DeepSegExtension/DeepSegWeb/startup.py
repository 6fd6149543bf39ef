"""What libraries do again and again while the page starts, done once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, PathFinder


def find_libraries_once() -> None:
    """Let Python find VTK's libraries: VTK 9.6 lists its folder for each of them, a third of the time of its import."""
    try:
        import vtkmodules

        search = vtkmodules.find_lib_path
    except (ImportError, AttributeError):  # not installed, or another version
        return

    def find(paths, name):
        spec = PathFinder.find_spec(f"vtkmodules.{name}", paths)
        return spec.origin if spec and isinstance(spec.loader, ExtensionFileLoader) else search(paths, name)

    vtkmodules.find_lib_path = find


@contextmanager
def rendered_once() -> Iterator[None]:
    """A block in which a page is built. Trame renders an element at its end, and at the end of each one around it.

    The layout around them renders all of them.
    """
    from trame_client.widgets.core import HTML_CTX, AbstractElement

    leave = AbstractElement.__exit__
    AbstractElement.__exit__ = lambda element, *_error: HTML_CTX.exit(element)
    try:
        yield
    finally:
        AbstractElement.__exit__ = leave
