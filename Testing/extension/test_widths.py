"""The panel fits into the width that Slicer gives it, its buttons stand in line, and its texts can be read."""

import re

import numpy as np
import pytest
from host.pythonqt import unwrap
from PySide6 import QtGui, QtWidgets

NARROW = 330  # px; Slicer's panel is about 500 wide at first, and people make it narrower
SECTIONS = (
    "input",
    "model",
    "structures",
    "advanced",
    "result",
    "correct",
    "plan",
    "detect",
    "sure",
    "learn",
    "export",
)


def test_the_panel_fits_into_a_narrow_one_whatever_is_open(ready, desktop):
    title = "A model with a very long title, as those of the catalogue have now and then"
    ready.ui.planOneComboBox.addItem(title)
    ready.ui.detectorComboBox.addItem(title)
    ready.ui.opinionComboBox.addItem(title)
    panel = unwrap(ready.panel.parent)
    widths = {}
    for opened in SECTIONS:
        for section in SECTIONS:
            getattr(ready.ui, f"{section}CollapsibleButton").collapsed = section != opened
        desktop.pump(0.05)
        widths[opened] = panel.minimumSizeHint().width()
    assert {section: width for section, width in widths.items() if width > NARROW} == {}


@pytest.mark.parametrize("height", [300, 1200])
def test_no_wrapped_text_is_cut(ready, desktop, height):
    """In a scroll area, as Slicer's panel is, lower and higher than what is in it."""
    panel, area = unwrap(ready.panel.parent), QtWidgets.QScrollArea()
    ready.panel.area = area  # it takes the panel with it when it goes
    for section in ("model", "detect", "learn"):
        getattr(ready.ui, f"{section}CollapsibleButton").collapsed = False
    area.setWidgetResizable(True)
    area.setWidget(panel)
    area.resize(NARROW + 30, height)
    area.show()
    desktop.pump(0.1)
    labels = [w for w in panel.findChildren(QtWidgets.QLabel) if w.wordWrap() and w.isVisible() and w.text()]
    cut = [w.objectName() for w in labels if w.height() < w.heightForWidth(w.width())]
    assert len(labels) >= 4 and not cut


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("modelTree", ["Whole body, 117 structures, 1.5 mm", "1.1 GB", "Apache-2.0"]),
        ("resultTree", ["Left deep back muscles", "≥ 2076.0", "0.64  check"]),
        ("opinionTree", ["Left deep back muscles", "0.962", "352.3"]),
        ("caseTree", ["Abdomen with contrast medium", "29", "24 MB"]),
        ("offerTree", ["Left deep back muscles", "12", "0.962", "0.971"]),
    ],
)
def test_all_columns_of_a_table_are_in_the_narrow_panel(ready, desktop, tmp_path, name, row):
    tree = unwrap(getattr(ready.ui, name))
    section = tree.parent()
    section.setEnabled(True)
    section.setProperty("collapsed", False)
    tree.setVisible(True)
    QtWidgets.QTreeWidgetItem(tree, row)
    desktop.screenshot(ready.panel.parent, tmp_path / "panel.png", NARROW)
    assert tree.isVisible() and tree.header().length() <= tree.viewport().width()


def test_what_can_be_pressed_says_what_it_does(lung):
    """Where the text on it is not a whole sentence, a tooltip is."""
    kinds = (QtWidgets.QPushButton, QtWidgets.QCheckBox, QtWidgets.QComboBox, QtWidgets.QSlider)
    plain = {"segmentButton", "exportButton"}  # as the section or the step is called
    silent = {
        name
        for name, shown in ((n, unwrap(getattr(lung.ui, n))) for n in vars(lung.ui))
        if isinstance(shown, kinds) and not shown.toolTip() and not name.endswith("CollapsibleButton")
    }
    assert silent - plain == set()


def test_buttons_are_in_sentence_case(user):
    buttons = (unwrap(getattr(user.ui, n)) for n in vars(user.ui))
    texts = [b.text() for b in buttons if isinstance(b, QtWidgets.QPushButton)]
    assert [text for text in texts if re.search(" [A-Z][a-z]", text)] == []


@pytest.mark.parametrize("width", [NARROW, 640])
def test_the_buttons_of_the_plan_stand_in_line(ready, desktop, tmp_path, width):
    ready.ui.planCollapsibleButton.collapsed = False
    desktop.screenshot(ready.panel.parent, tmp_path / "panel.png", width)
    places = {}
    for name in (n for n in vars(ready.ui) if n.endswith("Button")):
        button = unwrap(getattr(ready.ui, name))
        if button.parent() is unwrap(ready.ui.planCollapsibleButton):
            places.setdefault(button.y(), []).append((button.x(), button.width()))
    assert sorted(map(len, places.values())) == [1, 2, 2, 2, 2, 2, 2, 3, 3, 3]
    for count in (2, 3):
        columns = zip(*(sorted(row) for row in places.values() if len(row) == count), strict=True)
        for lefts, widths in (zip(*column, strict=True) for column in columns):
            assert max(lefts) - min(lefts) <= 1 and max(widths) - min(widths) <= 1
    assert max(w for row in places.values() for _, w in row if len(row) == 3) <= width / 3


def _luminance(color):
    """Relative luminance by WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.getRgbF()[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("window", ["#ffffff", "#efefef", "#353535", "#1e1e1e"])
def test_warnings_can_be_read_in_light_and_dark_style(user, small, window):
    application, label = QtWidgets.QApplication.instance(), unwrap(user.ui.notesLabel)
    before = application.palette()
    application.setPalette(QtGui.QPalette(QtGui.QColor(window)))
    try:
        user.desktop.pump(0.1)
        user.load(*small)
        user.desktop.pump(0.1)
        assert "10 mm thick" in label.text()
        text = label.palette().color(QtGui.QPalette.WindowText)
        low, high = sorted(map(_luminance, (text, QtGui.QColor(window))))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    finally:
        application.setPalette(before)


def test_warnings_follow_a_style_and_a_font_that_are_changed_meanwhile(ready, desktop):
    application, label = QtWidgets.QApplication.instance(), unwrap(ready.ui.notesLabel)
    before, font = application.palette(), application.font()
    larger = QtGui.QFont(font)
    larger.setPointSize(font.pointSize() + 5)
    assert label.text()
    try:
        for window in ("#1e1e1e", "#efefef", "#323232"):
            application.setPalette(QtGui.QPalette(QtGui.QColor(window)))
            desktop.pump(0.1)
            text = label.palette().color(QtGui.QPalette.WindowText)
            low, high = sorted(map(_luminance, (text, QtGui.QColor(window))))
            assert (high + 0.05) / (low + 0.05) >= 4.5
        application.setFont(larger)
        desktop.pump(0.1)
        assert label.font().pointSize() == larger.pointSize()
    finally:
        application.setPalette(before)
        application.setFont(font)


def test_a_tool_in_use_can_be_seen_in_any_style(lung):
    ui = lung.ui
    ui.strokeButton.click()
    ui.removeFromButton.click()
    assert [unwrap(b).font().bold() for b in (ui.strokeButton, ui.removeFromButton)] == [True, True]
    assert [unwrap(b).font().bold() for b in (ui.pointButton, ui.boxButton, ui.addToButton)] == [False] * 3
    ui.removeFromButton.click()
    assert not unwrap(ui.removeFromButton).font().bold()
