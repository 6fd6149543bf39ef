"""What the panel adds to Slicer's light and dark style."""

from functools import partial

import qt
import slicer

from DeepSegLib.notes import colorNotes

NOTES = "notesLabel", "warningsLabel"
TOOLS = (
    "show3DButton",
    "pointButton",
    "strokeButton",
    "boxButton",
    "addToButton",
    "removeFromButton",
    "pathButton",
    "branchButton",
)


class Style:
    """Notes in a color that can be read also after the style was changed; bold text on buttons that stay pressed, which
    Slicer's dark style hardly shows otherwise."""

    def __init__(self, ui):
        self._labels = [getattr(ui, name) for name in NOTES]
        for button in (getattr(ui, name) for name in TOOLS):
            button.connect("toggled(bool)", partial(_setBold, button))
            _setBold(button, button.checked)
        slicer.app.connect("paletteChanged(QPalette)", self.onPalette)

    def close(self):
        slicer.app.disconnect("paletteChanged(QPalette)", self.onPalette)

    def onPalette(self, _palette):
        for label in self._labels:
            colorNotes(label)


def _setBold(button, on):
    font = qt.QFont()  # whose other properties are those around
    font.setBold(on)
    button.setFont(font)
