"""The panel fits into the width that Slicer gives it."""

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
