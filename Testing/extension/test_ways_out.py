"""What the pre-flight line warns of can be mended at the press of a button; the original volume stays."""

import numpy as np
import pytest


@pytest.fixture
def in_air(small):
    """The small CT in the middle of four times as much air, and its matrix."""
    array, matrix = small
    wide = np.pad(array, ((0, 0), (40, 40), (40, 40)), constant_values=-1000)
    moved = matrix.copy()
    moved[:3, 3] -= matrix[:3, :3] @ [40, 40, 0]
    return wide, moved


def test_crop(user, in_air):
    import slicer

    original = user.load(*in_air)
    assert "fills" in user.ui.notesLabel.text and not user.ui.cropButton.isHidden()
    user.ui.cropButton.click()
    node = user.ui.inputSelector.currentNode()
    assert node.GetName() == "Chest cropped" and original.GetScene() is not None
    assert slicer.util.arrayFromVolume(original).shape == in_air[0].shape
    assert user.ui.cropButton.isHidden() and user.ui.segmentButton.enabled
    cropped, wide = slicer.util.arrayFromVolume(node), in_air[0]
    assert cropped.size < wide.size / 2
    first = np.linalg.inv(in_air[1]) @ [*node.GetOrigin(), 1.0]  # of the new one's voxels in the old one
    i, j, k = np.rint(first[:3]).astype(int)
    assert np.allclose(first[:3], (i, j, k), atol=1e-6)
    k1, j1, i1 = np.add((k, j, i), cropped.shape)
    assert np.array_equal(cropped, wide[k:k1, j:j1, i:i1])


def test_resample_thick_slices(user, small):
    import slicer

    user.load(*small)  # 10 mm
    assert "10 mm thick" in user.ui.notesLabel.text
    user.ui.resampleButton.click()
    node = user.ui.inputSelector.currentNode()
    assert node.GetName() == "Chest resampled" and node.GetSpacing() == pytest.approx((3, 3, 3), abs=0.05)
    assert slicer.util.arrayFromVolume(node).shape == (60, 80, 80)
    assert user.ui.resampleButton.isHidden()


def test_uneven_slices(user, small):
    """Slicer puts a volume of unevenly spaced slices under a transform that bends space."""
    import slicer
    import vtk

    array, matrix = small
    node = user.load(array, matrix)
    bend = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in np.ndindex(2, 2, 3):
        ijk = np.array(corner) / (1, 1, 2) * (79, 79, 17)
        x, y, z = (matrix @ [*ijk, 1.0])[:3]
        source.InsertNextPoint(x, y, z)
        target.InsertNextPoint(x, y, z + (20 if corner[2] == 1 else 0))
    bend.SetSourceLandmarks(source)
    bend.SetTargetLandmarks(target)
    bend.SetBasisToR()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(bend)
    user.ui.inputSelector.setCurrentNode(None)
    node.SetAndObserveTransformNodeID(transform.GetID())
    user.ui.inputSelector.setCurrentNode(node)
    assert not user.ui.segmentButton.enabled and "non-linear transform" in user.ui.notesLabel.text
    user.ui.resampleButton.click()
    made = user.ui.inputSelector.currentNode()
    assert made is not node and made.GetParentTransformNode() is None
    assert node.GetTransformNodeID() == transform.GetID()
    assert user.ui.segmentButton.enabled, user.ui.statusLabel.text
    # a slice in the middle shows what the transform brings there
    before, after = slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(made)
    place = vtk.vtkMatrix4x4()
    made.GetIJKToRASMatrix(place)
    ras = place.MultiplyPoint([40, 40, 10, 1.0])[:3]
    come_from = np.linalg.inv(matrix) @ [*bend.GetInverse().TransformPoint(ras), 1.0]
    there = after[10, 20:60, 20:60].ravel()
    likeness = [np.corrcoef(there, array[20:60, 20:60].ravel())[0, 1] for array in before]
    assert np.argmax(likeness) == round(come_from[2]) != 10


def test_too_little_memory_offers_a_smaller_volume(ready, monkeypatch):
    """As the worker tells it of a run."""
    from DeepSegLogic.util.errors import ResourceError
    from DeepSegLogic.worker import Event

    assert ready.ui.cropButton.isHidden()
    session = ready.session
    ready.ui.segmentButton.click()
    error = ResourceError("The computer has too little free memory.", "Close programs.", code="resource.memory")
    failure = Event("error", session._client._last_job, error=error)
    monkeypatch.setattr(session._client, "poll", lambda: [failure])
    session.poll()
    assert "too little free memory" in ready.ui.notesLabel.text
    session._client.kill()
