"""The panel's section on why and how sure: an overlay, a table to go through, a structure that is taken over."""

import numpy as np


def foreground():
    import slicer

    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    return slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or ""), composite.GetForegroundOpacity()


def test_explain_ask_look_and_take(ready):
    import slicer

    ui, session = ready.ui, ready.session
    assert not ui.sureCollapsibleButton.enabled and not ui.explainButton.enabled
    session.choices.set_quality("draft")
    ready.run()
    assert ui.sureCollapsibleButton.enabled and ui.explainButton.enabled
    ready.choose_row("Left lung")
    ui.explainButton.click()
    assert not ui.explainButton.enabled and ready.tip(ui.explainButton) == "A task is running."
    ready.wait(lambda: not session.jobs.run.busy)
    node, opacity = foreground()
    assert node.GetName() == "Why Left lung" and opacity == 0.5
    shown = slicer.util.arrayFromVolume(node)
    np.testing.assert_array_equal(shown, session.sureness.attribution.array)
    assert "Left lung: probability " in ui.statusLabel.text
    ui.overlayCheckBox.setChecked(False)
    assert foreground() == (None, 0.0)
    ui.overlayCheckBox.setChecked(True)
    assert foreground()[0].GetName() == "Why Left lung"

    ui.opinionComboBox.currentIndex = 1  # dropout, which the bundled model does not have
    ui.opinionButton.click()
    ready.wait(lambda: not session.jobs.run.busy)
    assert "no dropout" in ui.statusLabel.text

    ui.opinionComboBox.currentIndex = 0
    ui.opinionButton.click()
    ready.wait(lambda: not session.jobs.run.busy)
    assert foreground()[0].GetName().startswith("Differences from ")
    differing = [row for row in session.sureness.rows if row.differs]
    assert ui.opinionTree.topLevelItemCount == len(differing) > 0
    assert ui.opinionTree.topLevelItem(0).text(0) == differing[0].title
    assert not ui.takeOpinionButton.enabled
    row = next(n for n, r in enumerate(differing) if r.name == "lung_left")
    ui.opinionTree.setCurrentItem(ui.opinionTree.topLevelItem(row))
    assert ui.takeOpinionButton.enabled
    before = ready.shown("lung_left")
    ui.takeOpinionButton.click()
    taken = ready.shown("lung_left")
    np.testing.assert_array_equal(taken, session.sureness.other.mask("lung_left"))
    assert (taken != before).any()
    ready.scene.corrections.undo()
    np.testing.assert_array_equal(ready.shown("lung_left"), before)

    slicer.mrmlScene.Clear()
    assert session.sureness.overlay is None and not ui.opinionTree.visible
