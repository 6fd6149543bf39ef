"""What the scene behind the page keeps."""

import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_volume

pytestmark = pytest.mark.timeout(100)


def test_a_result_that_was_replaced_leaves_memory(chest_ct):
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    scene = pytest.importorskip("DeepSegWeb.scene").PageScene()
    volume = read_volume(chest_ct)
    label_map = LabelMap((volume.array > 200).astype(np.uint8), volume.ijk_to_ras, [structure_for("sacrum", 1)])
    facts = {"model": {"id": "m", "version": "1"}, "settings": {"quality": "fast"}, "versions": {"deepseg": "0"}}
    results = []
    for _ in range(2):
        scene.show_volume(volume)
        scene.work.adopt(label_map, facts)
        scene.edit_result()
        results.append(scene.work.resultNode)
    assert results[1].GetReferenceCount() > 1
    assert results[0].GetReferenceCount() == 1, "only this test holds it"
    scene.work.session.close()
