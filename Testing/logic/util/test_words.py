"""Parts of sentences, and texts where lists are expected."""

import numpy as np
import pytest

from DeepSegLogic import UsageError, write_surfaces
from DeepSegLogic.data.label_map import LabelMap, unknown_structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.words import anatomical_place_text, counted, minus_text, number_text, place_text


def test_numbers_with_their_nouns():
    assert [counted(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_zero_has_no_sign(digits):
    rng = np.random.default_rng(0)
    for x in [-0.0, -0.5, -0.04, *rng.normal(0, 0.1, 200), *rng.normal(0, 300, 200)]:
        text = number_text(x, digits)
        assert float(text) == round(float(x), digits) and not (float(text) == 0 and text.startswith("-"))
    assert place_text([84.2, -0.3, -290]) == "84, 0, -290"


@pytest.mark.parametrize("spec", ["g", ".0f", ".1f"])
def test_people_read_a_minus_sign(spec):
    """The numbers are those of Python's own text."""
    rng = np.random.default_rng(0)
    for x in [0.0, -0.0, -0.04, -1024, *rng.normal(0, 300, 200)]:
        text = minus_text(x, spec)
        assert "-" not in text and float(text.replace("−", "-")) == float(f"{x:{spec}}")
        assert text.startswith("−") == (float(f"{x:{spec}}") < 0)


def test_places_by_the_patients_sides():
    assert anatomical_place_text([84.2, -0.3, -290]) == "R 84.2 P 0.3 I 290.0 mm"
    assert anatomical_place_text([-7, 12.34, 0.02]) == "L 7.0 A 12.3 S 0.0 mm"


def test_a_text_is_no_list_of_names(tmp_path):
    array = np.zeros((4, 4, 4), np.int16)
    with pytest.raises(UsageError, match=r"'liver' is a text.*Give \['liver'\]"):
        segment(Volume(array, np.eye(4)), "ct_demo", structures="liver")
    with pytest.raises(UsageError, match=r"Give \['stl'\]"):
        write_surfaces(LabelMap(array.astype(np.uint8), np.eye(4), []), tmp_path / "models", "stl")


def test_one_letter_suggests_nothing():
    assert "Did you mean" not in str(unknown_structure("x", ["gluteus_maximus_left", "aorta"]))
    assert "Did you mean gluteus_maximus_left?" in str(unknown_structure("max", ["gluteus_maximus_left", "aorta"]))
