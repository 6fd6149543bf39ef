"""What a face says of a prompt that was drawn where nothing can be corrected."""

import re

import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.refinement import Box, Lasso, Point, Scribble
from DeepSegLogic.session import Correction
from DeepSegLogic.util.errors import DeepSegError

FOR_THE_COMMAND_LINE = re.compile(r"[Pp]rompt|RAS|LPS|\d|--|`|\b[Gg]ive\b|\"add\"|deepseg")
FAR, FAR_TOO, FAR_AGAIN = (900.0, 900.0, 900.0), (910.0, 900.0, 900.0), (910.0, 910.0, 900.0)
GAP = (4.5, 4.5, 4.5)  # between voxels


@pytest.fixture
def correction():
    array = np.zeros((10, 10, 10), np.uint8)
    array[3:7, 3:7, 3:7] = 5
    volume = Volume(np.zeros(array.shape, np.int16), np.eye(4))
    return Correction(LabelMap(array, np.eye(4), [structure_for("liver", 5)]), volume)


@pytest.mark.parametrize("ask", ["prompt", "request"])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(
    ("kind", "places", "code"),
    [
        (Point, FAR, "input.prompt_outside"),
        (Scribble, (FAR, FAR_TOO), "input.prompt_outside"),
        (Box, (FAR, FAR_AGAIN), "input.prompt_outside"),
        (Lasso, (FAR, FAR_TOO, FAR_AGAIN), "input.prompt_outside"),
        (Box, (GAP, (4.6, 4.6, 4.6)), "input.prompts"),
        (Lasso, (GAP, (4.6, 4.5, 4.5), (4.6, 4.6, 4.5)), "input.prompts"),
    ],
)
def test_no_words_of_the_command_line(correction, ask, positive, kind, places, code):
    before = correction.label_map.array.copy()
    with pytest.raises(DeepSegError) as caught:
        getattr(correction, ask)(kind("liver", positive, places))
    assert caught.value.code == code and not FOR_THE_COMMAND_LINE.search(str(caught.value)), str(caught.value)
    assert "nothing was corrected" in str(caught.value) and "Draw" in caught.value.remedy
    assert np.array_equal(correction.label_map.array, before) and not correction.made


@pytest.mark.parametrize("ask", ["prompt", "request"])
@pytest.mark.parametrize("name", ["spleen", "no such organ"])
def test_a_structure_that_is_not_in_the_result(correction, ask, name):
    with pytest.raises(DeepSegError, match="no longer has the structure") as caught:
        getattr(correction, ask)(Point(name, True, (5.0, 5.0, 5.0)))
    assert not FOR_THE_COMMAND_LINE.search(str(caught.value))


def test_what_lies_partly_inside_is_taken(correction):
    correction.prompt(Scribble("liver", True, ((5.0, 5.0, 5.0), (5.0, 5.0, 40.0))))
    assert correction.label_map.array[9, 5, 5] == 5


@pytest.mark.parametrize("ask", ["prompt", "request"])
@pytest.mark.parametrize(
    "prompt",
    [
        Point("spleen", True, (5.0, 5.0, 5.0)),
        Scribble("spleen", True, ((4.0, 5.0, 5.0), (5.0, 5.0, 5.0)), radius_mm=0.5),
        Box("spleen", True, ((0.0, 0.0, 0.0), (9.0, 9.0, 9.0))),  # fixes its middle voxel
    ],
)
def test_what_belongs_to_another_structure_is_told_by_its_title_and_what_to_do(correction, ask, prompt):
    labels = correction.label_map
    both = LabelMap(labels.array, labels.ijk_to_ras, [structure_for("kidney_left", 5), structure_for("spleen", 6)])
    both.array[0, 0, 0] = 6
    correction = Correction(both, Volume(np.zeros(both.array.shape, np.int16), np.eye(4)))
    with pytest.raises(DeepSegError, match="this belongs to Left kidney") as caught:
        getattr(correction, ask)(prompt)
    assert "Remove it there first" in caught.value.remedy and not FOR_THE_COMMAND_LINE.search(str(caught.value))
    correction.locked = []  # then the prompt may take it
    getattr(correction, ask)(prompt)
