"""The real module file and the real .ui in the stand-in for Slicer's desktop, with the real worker and model."""

from pathlib import Path

import host
import numpy as np
import pytest
from forked_workers import warm_workers as warm_workers

from DeepSegLogic.io import read_volume

collect_ignore = ["test_dicom.py", "test_setup.py", "test_widths.py"] if host.REAL else []  # as below
in_stand_in = pytest.mark.skipif(host.REAL, reason="looks into the stand-in, or takes the place of a part of Slicer")

MODULE = Path(__file__).resolve().parents[2] / "DeepSegExtension" / "DeepSeg.py"


class User:
    """Somebody at the panel.

    Attributes:
        panel, ui, scene, session: the module's widget and what it works with.
        desktop: the stand-in host.
    """

    def __init__(self, desktop, panel):
        self.desktop, self.panel, self.ui = desktop, panel, panel.ui
        self.scene, self.session = panel.logic.sceneSession, panel.logic.sceneSession.session

    def load(self, array, matrix, name="Chest"):
        """Add a volume to the scene and choose it."""
        import slicer
        import vtk

        node = slicer.util.addVolumeFromArray(array, name=name)
        ijkToRas = vtk.vtkMatrix4x4()
        ijkToRas.DeepCopy(np.asarray(matrix, float).ravel())
        node.SetIJKToRASMatrix(ijkToRas)
        self.ui.inputSelector.setCurrentNode(node)
        return node

    def run(self):
        """Press Segment and wait for the end of everything."""
        outcome, jobs = self.session.outcome, self.session.jobs
        before = outcome.result
        self.ui.segmentButton.click()
        assert jobs.run.busy, self.ui.statusLabel.text
        self.wait(lambda: not jobs.run.busy and (outcome.result is before or outcome.measurements))

    def wait(self, until):
        """Let the panel work until a condition holds, or something failed."""
        assert self.desktop.pump(240, until=lambda: self.desktop.errors or until()), "\n".join(self.session.jobs.log)

    @staticmethod
    def tip(widget):
        """The tooltip of a widget; Slicer makes rich text of it, which this undoes."""
        import qt

        document = qt.QTextDocument()
        document.setHtml(widget.toolTip)
        return document.toPlainText()

    def rows(self):
        """The lines of the result's table."""
        return [self.ui.resultTree.topLevelItem(n) for n in range(self.ui.resultTree.topLevelItemCount)]

    def choose_row(self, title):
        """Click on a structure in the result's table."""
        self.ui.resultTree.itemClicked(next(row for row in self.rows() if row.text(0) == title), 0)

    def shown(self, name):
        """Where the segmentation node has a structure: boolean, (K, J, I)."""
        import slicer

        return slicer.util.arrayFromSegmentBinaryLabelmap(self.scene.resultNode, name, self.scene.volumeNode) > 0

    def paint(self, name, mask):
        """Change a segment as the Segment Editor does."""
        import slicer

        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), self.scene.resultNode, name, self.scene.volumeNode
        )


@pytest.fixture
def desktop(slicer_host):
    """The stand-in host; nothing may have failed in it."""
    yield slicer_host
    assert slicer_host.errors == []


@pytest.fixture
def user(desktop):
    """At a panel without a volume."""
    return User(desktop, desktop.load_module(MODULE))


@pytest.fixture(scope="session")
def small(chest_ct):
    """The middle of the chest CT, and its matrix."""
    volume = read_volume(chest_ct)
    start = np.eye(4)
    start[:3, 3] = 24, 24, 8
    return np.ascontiguousarray(volume.array[8:26, 24:104, 24:104]), volume.ijk_to_ras @ start


@pytest.fixture
def ready(user, small):
    """At a panel with the small CT chosen."""
    user.load(*small)
    assert user.ui.segmentButton.enabled, user.ui.statusLabel.text
    return user


@pytest.fixture
def lung(ready):
    """After a run: the left lung is chosen, and a hole of 7×7×7 voxels was made in it by hand.

    Its user has ``before``, ``hole`` and ``erased``: masks, (K, J, I); ``centre`` of the hole.
    """
    ready.run()
    ready.choose_row("Left lung")
    ready.before = ready.shown("lung_left")
    inside = np.argwhere(ready.before)
    ready.centre = inside[len(inside) // 2]
    ready.hole = np.zeros_like(ready.before)
    ready.hole[tuple(slice(max(c - 3, 0), c + 4) for c in ready.centre)] = True
    ready.hole &= ready.before
    ready.erased = ready.before & ~ready.hole
    ready.paint("lung_left", ready.erased)
    return ready
