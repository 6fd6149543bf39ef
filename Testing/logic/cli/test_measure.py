"""``deepseg measure``: numbers of the planning room, in sentences and as JSON."""

import json

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, write_label_map
from DeepSegLogic.cli import main


@pytest.fixture
def segmentation(tmp_path):
    """Two boxes 8 mm apart, on a volume whose border cuts the vein."""
    array = np.zeros((30, 20, 40), np.uint8)
    array[8:20, 4:16, 6:16], array[4:, 4:16, 24:34] = 1, 2
    structures = [Structure(1, "liver_tumor", "Liver tumor"), Structure(2, "portal_vein", "Portal vein")]
    write_label_map(LabelMap(array, np.eye(4), structures), tmp_path / "organs.seg.nrrd")
    return str(tmp_path / "organs.seg.nrrd")


def test_a_distance_by_names_titles_or_values(segmentation, capfd):
    for pair in ("liver_tumor,portal_vein", "Liver tumor, Portal vein", "1,2"):
        assert main(["measure", segmentation, "--distance", pair, "--json"]) == 0
        events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert events[0]["event"] == "warning" and "Portal vein is cut" in events[0]["message"]
        result = events[-1]
        assert (result["event"], result["measure"]) == ("result", "distance")
        assert result["distance_mm"] == pytest.approx(8, abs=0.5)
        (a, *_), (b, *_) = result["points_ras"]
        assert b - a == pytest.approx(result["distance_mm"], abs=1e-3)
        assert result["notes"] == ["Portal vein is cut by the border of the volume."]


def test_sentences_for_people(segmentation, capfd):
    arguments = ["--distance", "1,2", "--contact", "1,2", "--encasement", "1,2", "--within-mm", "9", "--diameters", "1"]
    assert main(["measure", segmentation, *arguments]) == 0
    text = capfd.readouterr().out
    assert "liver_tumor to portal_vein: 8." in text or "liver_tumor to portal_vein: 7." in text
    assert "within 9 mm of portal_vein" in text and "encases" in text and "mm ×" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Nothing to measure"),
        (["--distance", "1"], 2, "does not name two structures"),
        (["--distance", "1,spleen"], 2, "no structure named 'spleen'"),
        (["--contact", "1,2", "--within-mm", "-1"], 2, "-1.0 mm"),
    ],
)
def test_what_cannot_be_measured_is_refused(segmentation, capfd, arguments, code, said):
    assert main(["measure", segmentation, *arguments]) == code
    assert said in capfd.readouterr().err
