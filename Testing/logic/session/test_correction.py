"""What a prompt would change is looked at, applied, and changed again, with one undo."""

import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.refinement import Point
from DeepSegLogic.session import Correction, entry_text
from DeepSegLogic.util.errors import UsageError

CLICK = Point("liver", True, (20.0, 20.0, 20.0))


@pytest.fixture
def correction():
    """A liver of 20 mm in fat, with a hole of 8³ voxels in its middle."""
    organ = np.zeros((40, 40, 40), bool)
    organ[10:30, 10:30, 10:30] = True
    grey = np.where(organ, 60, -90) + np.random.default_rng(0).normal(0, 8, organ.shape)
    labels = organ.astype(np.uint8)
    labels[16:24, 16:24, 16:24] = 0
    return Correction(
        LabelMap(labels, np.eye(4), [structure_for("liver", 1)]), Volume(grey.astype(np.int16), np.eye(4))
    )


def test_a_proposal_changes_nothing_until_it_is_accepted(correction):
    before = correction.label_map.array.copy()
    proposed = correction.propose(CLICK)
    np.testing.assert_array_equal(correction.label_map.array, before)
    assert not correction.made
    assert proposed.proposal.ml() == pytest.approx(0.512)
    assert proposed.text() == "Liver: point (+0.5 ml)"
    entry = correction.accept(proposed, 0.5)
    assert entry.changes_ml == {"liver": (pytest.approx(0.256, abs=0.005 + 1e-9), 0.0)}  # five voxels; 1e-9 is rounding
    assert correction.history.done == (entry,)


def test_what_marks_the_same_voxels_is_not_solved_again_unless_something_changed(correction, monkeypatch):
    from DeepSegLogic import refinement

    solved, propose = [], refinement.propose
    monkeypatch.setattr(refinement, "propose", lambda *a, **k: solved.append(1) or propose(*a, **k))
    first = correction.propose(CLICK)
    beside = Point("liver", True, (20.3, 19.8, 20.1))  # in the same voxel
    again = correction.propose(beside)
    assert len(solved) == 1 and again.prompt is beside
    np.testing.assert_array_equal(again.proposal.at(), first.proposal.at())
    assert correction.accept(again).changes_ml == {"liver": (pytest.approx(0.512), 0.0)}
    with pytest.raises(UsageError, match="already agrees"):
        correction.propose(CLICK)  # the labels are others now
    correction.undo()
    correction.propose(CLICK)
    count = len(solved)
    for other in (Point("liver", False, (12.0, 12.0, 12.0)), Point("liver", True, (21.0, 20.0, 20.0))):
        correction.propose(other)
    assert len(solved) == count + 2
    correction.locked = ["liver"]
    with pytest.raises(UsageError, match="locked"):
        correction.propose(Point("liver", True, (21.0, 20.0, 20.0)))


def test_the_last_prompt_is_applied_again_at_another_reach(correction):
    before = correction.label_map.array.copy()
    correction.prompt(CLICK)
    narrow = correction.adjust(0)
    assert narrow.changes_ml == {"liver": (0.001, 0.0)} and correction.history.done == (narrow,)
    assert entry_text(narrow, correction.label_map) == "Liver: point (Liver +0.001 ml)", "not rounded to nothing"
    correction.adjust(1)
    assert correction.label_map.array[16:24, 16:24, 16:24].all()
    correction.undo()
    np.testing.assert_array_equal(correction.label_map.array, before)
    assert correction.adjust(2) is None
    np.testing.assert_array_equal(correction.label_map.array, before)


def test_nothing_is_adjusted_after_something_else_was_done(correction):
    correction.prompt(CLICK)
    corner = (slice(0, 2),) * 3
    correction.edit("liver", corner, np.ones((2, 2, 2), bool), True)
    after = correction.label_map.array.copy()
    assert correction.adjust(0) is None
    np.testing.assert_array_equal(correction.label_map.array, after)


def test_a_satisfied_prompt_proposes_nothing(correction):
    with pytest.raises(UsageError, match="already agrees"):
        correction.propose(Point("liver", True, (12.0, 12.0, 12.0)))
