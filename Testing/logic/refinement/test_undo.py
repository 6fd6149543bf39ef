"""Undo and redo give back every voxel."""

import numpy as np

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.refinement import Point, refine
from DeepSegLogic.refinement.postprocess import margin
from DeepSegLogic.refinement.undo import History


def test_undo_and_redo_over_prompts_and_hand_edits(phantom):
    history = History(phantom.labels())
    states = [history.label_map.array.copy()]
    for n in range(4):
        if n % 2:
            painted = phantom.labels(history.label_map.array)
            painted.array[3 * n : 3 * n + 3, 2:5, 2:9] = 1
            entry = history.commit("Paint", painted)
            assert entry.box == (slice(3 * n, 3 * n + 3), slice(2, 5), slice(2, 9))
            np.testing.assert_allclose(entry.changes_ml["spleen"], (3 * 3 * 7 * painted.voxel_ml, 0))
        else:
            click = Point("liver", True, phantom.ras(35, 40, 5 + 10 * n))
            done = refine(history.label_map, [click], volume=phantom.volume)
            assert history.commit("Click", done.label_map, done.changed_box).changes_ml == done.changes_ml
        states.append(history.label_map.array.copy())
    for state in states[-2::-1]:
        history.undo()
        np.testing.assert_array_equal(history.label_map.array, state)
    assert history.undo() is None
    for state in states[1:]:
        history.redo()
        np.testing.assert_array_equal(history.label_map.array, state)
    assert history.redo() is None


def test_a_new_step_discards_undone_steps(phantom):
    history = History(phantom.labels())
    history.commit("Grow", margin(history.label_map, "liver", 2))
    history.undo()
    history.commit("Shrink", margin(history.label_map, "liver", -2))
    assert [e.title for e in history.done] == ["Shrink"] and history.undone == ()


def test_nothing_changed_is_no_step(phantom):
    history = History(phantom.labels())
    assert history.commit("Nothing", phantom.labels()) is None and history.done == ()


def test_undo_removes_an_added_structure(phantom):
    history = History(LabelMap(np.zeros_like(phantom.truth), phantom.matrix(), []))
    done = refine(history.label_map, [Point("liver", True, phantom.ras(20, 22, 20))], volume=phantom.volume)
    history.commit("Click", done.label_map)
    assert [s.name for s in history.label_map.structures] == ["liver"]
    history.undo()
    assert history.label_map.structures == []


def test_a_step_takes_little_memory(phantom):
    big = LabelMap(np.zeros((200, 200, 200), np.uint8), np.eye(4), list(phantom.structures))
    history = History(big)
    changed = LabelMap(big.array.copy(), big.ijk_to_ras, big.structures)
    changed.array[50:80, 50:80, 50:80] = 5
    assert history.commit("Paint", changed).nbytes < 27000 / 20


def test_labels_of_another_voxel_type_are_accepted(phantom):
    """A segmentation edited elsewhere comes back with the smallest type that holds it."""
    wide = phantom.labels(phantom.truth.astype(np.uint16))
    narrow = phantom.labels()
    narrow.array[3:6, 2:5, 2:9] = 1
    history = History(phantom.labels(wide.array))
    history.commit("Paint", narrow)
    np.testing.assert_array_equal(history.label_map.array, narrow.array)
    history.undo()
    np.testing.assert_array_equal(history.label_map.array, wide.array)

    wide.array[3:6, 2:5, 2:9] = 300
    history = History(phantom.labels())
    history.commit("Add", wide)
    np.testing.assert_array_equal(history.label_map.array, wide.array)
    history.undo()
    np.testing.assert_array_equal(history.label_map.array, phantom.truth)
    history.redo()
    np.testing.assert_array_equal(history.label_map.array, wide.array)
