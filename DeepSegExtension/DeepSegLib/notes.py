"""Notes that the user should read before trusting a scan or a result."""

import qt
import slicer

ON_LIGHT, ON_DARK = "#8a5200", "#ffb84d"
"""Amber: a contrast of at least 4.5 with Slicer's light and dark style."""


def showNotes(label, lines):
    """Show sentences in a label, one a line; without any it is hidden."""
    label.text = "\n".join(lines)
    label.visible = bool(lines)
    colorNotes(label)


def colorNotes(label):
    """Color a label for the style that Slicer has now. A style sheet would also keep its font."""
    dark = slicer.app.palette().color(qt.QPalette.Window).lightness() < 128
    palette = qt.QPalette()
    palette.setColor(qt.QPalette.WindowText, qt.QColor(ON_DARK if dark else ON_LIGHT))
    label.setPalette(palette)
