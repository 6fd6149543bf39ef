"""The panel fits into the width that Slicer gives it, and its buttons stand in line."""

import pytest
from host.pythonqt import unwrap

WIDEST = 400  # px; Slicer's panel is about 500 wide at first, and people make it narrower
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


def test_an_open_section_is_not_wider_than_the_panel(ready):
    title = "A model with a very long title, as those of the catalogue have now and then"
    ready.ui.planOneComboBox.addItem(title)
    ready.ui.detectorComboBox.addItem(title)
    widths = {}
    for section in SECTIONS:
        button = getattr(ready.ui, f"{section}CollapsibleButton")
        button.collapsed = False
        widths[section] = button.minimumSizeHint.width()
    assert {section: width for section, width in widths.items() if width > WIDEST} == {}


@pytest.mark.parametrize("width", [WIDEST, 640])
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
