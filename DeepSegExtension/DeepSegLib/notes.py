"""Notes that the user should read before trusting a scan or a result."""

import qt

ON_LIGHT, ON_DARK = "#8a5200", "#ffb84d"
"""Amber: a contrast of at least 4.5 with Slicer's light and dark style."""


def showNotes(label, lines):
    """Show sentences in a label, one a line; without any it is hidden."""
    label.text = "\n".join(lines)
    label.visible = bool(lines)
    dark = label.parentWidget().palette.color(qt.QPalette.Window).lightness() < 128
    label.styleSheet = f"color: {ON_DARK if dark else ON_LIGHT}"
