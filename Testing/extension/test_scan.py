"""What the scan is, in the panel."""


def test_regions_and_field_of_view_are_shown(ready):
    ui, choices = ready.ui, ready.session.choices
    assert not ui.fieldOfViewLabel.visible and ui.segmentButton.enabled  # nothing waits for it
    ready.wait(lambda: choices.input.scan)
    assert choices.input.preflight.shows.startswith("Shows chest")
    assert choices.input.preflight.shows in ui.factsLabel.text
    assert ui.fieldOfViewLabel.visible and ui.segmentButton.enabled
    ready.run()  # which reads the volume again
    assert choices.input.preflight.shows in ui.factsLabel.text and ui.fieldOfViewLabel.visible
    assert ui.phaseLabel.text == "Contrast phase by the HU of structures: no contrast medium"
    titles = [ui.presetComboBox.itemText(n) for n in range(ui.presetComboBox.count)]
    assert "Thorax" in titles and "Kidney surgery" in titles


def test_presets_of_other_parts_of_the_body_are_left_out(ready):
    from DeepSegLogic.classify import Part, Scan

    ready.wait(lambda: ready.session.choices.input.scan)
    head = Scan("CT", (Part("head", 0, 180, 0.9),), 0, 180)
    ready.session.choices._take_scan(ready.session.choices.volume, head)
    box = ready.ui.presetComboBox
    assert [box.itemText(n) for n in range(1, box.count)] == ["Spine", "Bones"]
    assert ready.ui.factsLabel.text.endswith("Shows head")
