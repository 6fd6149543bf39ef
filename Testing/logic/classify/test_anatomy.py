"""Structures and regions."""

import pytest

from DeepSegLogic.classify import Part, Scan, finds_nothing, outside, regions_of
from DeepSegLogic.classify.names import REGIONS
from DeepSegLogic.classify.outline import HEIGHT, WIDTH, field_of_view, outline_png
from DeepSegLogic.models.catalogue import catalogue
from DeepSegLogic.session.scan_texts import REGION_WORDS, doubts, shown

CHEST = Scan("CT", (Part("abdomen", 0, 100, 0.9), Part("chest", 100, 300, 0.9)), 0, 300)


def test_a_structure_lies_where_the_label_maps_have_it(shared_data):
    """In the label map of a whole trunk, nothing lies only in regions that its slices do not reach."""
    import json

    import numpy as np
    import SimpleITK as sitk

    names = json.loads((shared_data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    image = sitk.DICOMOrient(sitk.ReadImage(str(shared_data / "label_maps" / "s0327.nii.gz")), "RAS")
    array = sitk.GetArrayViewFromImage(image)[::2, ::2, ::2]
    ends = {"legs": 14, "pelvis": 237, "abdomen": 410, "chest": 616, "neck": 9999}
    for value in np.unique(array)[1:]:
        heights = 3.0 * np.nonzero((array == value).any((1, 2)))[0]
        reached = {next(region for region, end in ends.items() if h < end) for h in heights}
        assert reached & regions_of(names[str(value)]), names[str(value)]


@pytest.mark.parametrize(
    ("model", "regions"),
    [
        ("teeth", {"head", "neck"}),
        ("liver_segments", {"abdomen"}),
        ("lung_nodules", {"chest"}),
        ("cads_head", {"head", "neck"}),
    ],
)
def test_models_of_a_part_of_the_body(model, regions):
    card = next(card for card in catalogue() if card.id == model)
    for name in card.structures:
        assert regions_of(name) <= regions or len(regions_of(name)) == len(REGIONS), name


def test_which_structures_a_scan_cannot_show():
    assert outside(CHEST, ["liver", "brain", "femur_left", "muscle", "never_heard_of"]) == ["brain", "femur_left"]
    assert finds_nothing(CHEST, ["brain", "femur_left"])
    assert not finds_nothing(CHEST, ["brain", "liver"])
    assert not finds_nothing(CHEST, []) and not finds_nothing(Scan(), ["brain"])
    gap = Scan("CT", (Part("abdomen", 0, 100, 0.9),), 0, 300)  # the upper part may be anything
    assert not gap.whole and not finds_nothing(gap, ["brain"])


def test_words():
    assert shown(CHEST) == "Shows chest, abdomen" and shown(Scan("CT")) == ""
    assert set(REGION_WORDS) == set(REGIONS)
    assert doubts(CHEST) == []
    [(text, remedy)] = doubts(CHEST, "Teeth", ["teeth_lower"])
    assert "Teeth will find nothing" in text and remedy
    texts = [text for text, _ in doubts(Scan("CT", flips=("upside_down", "mirrored")))]
    assert "upside down" in texts[0] and "left and right" in texts[1]
    assert doubts(Scan("other"))


def test_field_of_view_on_the_body():
    low, high = field_of_view(CHEST)
    assert 0.4 < low < high < 0.9
    upper = Scan("CT", (Part("neck", 0, 60, 0.9), Part("head", 60, 230, 0.9)), 0, 230)
    assert field_of_view(upper)[0] > high - 0.1 and field_of_view(upper)[1] == pytest.approx(1)
    below = Scan("CT", (Part("chest", 0, 200, 0.9), Part("abdomen", 200, 300, 0.9)), 0, 300, flips=("upside_down",))
    assert field_of_view(below) == pytest.approx((low, high))
    assert field_of_view(Scan()) is None


def test_the_picture_colours_what_is_scanned():
    from io import BytesIO

    import numpy as np
    from PIL import Image

    def blue_rows(scan):
        picture = np.asarray(Image.open(BytesIO(outline_png(scan))).convert("RGBA")).astype(int)
        assert picture.shape == (HEIGHT, WIDTH, 4)
        blue = (picture[..., 2] > picture[..., 0] + 100) & (picture[..., 3] > 200)
        return np.nonzero(blue.any(1))[0]

    low, high = field_of_view(CHEST)
    rows = blue_rows(CHEST)
    assert rows.min() == pytest.approx(6 + (HEIGHT - 12) * (1 - high), abs=3)  # beside the frame
    assert rows.max() == pytest.approx(6 + (HEIGHT - 12) * (1 - low), abs=3)
    assert len(blue_rows(Scan())) == 0
