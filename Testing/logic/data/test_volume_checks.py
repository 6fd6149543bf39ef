"""Is it a CT in HU? Asked of a real chest CT, and of what scanners, converters and mistakes make of it."""

import re

import numpy as np
import pytest

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.data.volume_checks import SEGMENTATION, ct_doubts, reject_unusable
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.util.errors import InputError


@pytest.fixture(scope="module")
def chest(chest_ct):
    return read_volume(chest_ct)  # with a padding of -3024 in its corners


def padded(array, chest, value):
    return np.where(chest.array < -3000, np.float32(value), array.astype(np.float32))


def doubts_of(volume):
    return ct_doubts(volume, reject_unusable(volume))


def air_is_0(chest):
    """Stored values, whose intercept of -1024 is lost."""
    return np.maximum(chest.array, -1024) + 1024


@pytest.mark.parametrize("modality", [None, "CT"])
@pytest.mark.parametrize("padding", [-1024, -2000, -2048, -3024, -32768, -33792])
def test_padding_and_saturated_metal_are_ordinary(chest, padding, modality):
    array = padded(chest.array, chest, padding)
    array[10, 60:62, 60:62] = 32767
    assert doubts_of(Volume(array, chest.ijk_to_ras, modality=modality)) == ([], [])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda c: air_is_0(c), "no negative values (lowest: 0)"),
        (lambda c: padded(air_is_0(c), c, -2000), "no negative values (lowest beside padding: 0)"),
        (lambda c: np.maximum(c.array, -1024) + 1000, "as dense as bone"),  # and noise below air
        (lambda c: c.array * 20.0, "beyond what HU can be"),
        (lambda c: c.array + 40000.0, "beyond what HU can be"),
    ],
)
@pytest.mark.parametrize("modality", [None, "CT"])
def test_shifted_and_scaled_values_are_refused(chest, made, said, modality):
    reasons, _ = doubts_of(Volume(made(chest), chest.ijk_to_ras, modality=modality))
    assert said in reasons[0]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda c: np.maximum(c.array, -1024) - 1024,
            "hardly any soft tissue (−200 to 300 HU)",
        ),  # the intercept applied twice
        (
            lambda c: np.clip(c.array, -150, 250),
            "no air (lowest value: −150); lungs and the surroundings are near −1000 HU",
        ),
    ],
)
def test_what_only_the_header_can_tell(chest, made, said):
    """A crop without air, or a thin limb, is doubtful where the header says CT, and refused where nothing says so."""
    array = made(chest)
    reasons, _ = doubts_of(Volume(array, chest.ijk_to_ras))
    _, doubts = doubts_of(Volume(array, chest.ijk_to_ras, modality="CT"))
    assert said in reasons[0]
    assert reasons == doubts
    assert not re.search(r"-\d", " ".join(reasons)), "a hyphen for a minus sign"


@pytest.mark.parametrize(
    ("lowest", "said"),
    [
        (-900, []),
        (-450, ["It has no air (lowest value beside padding: −450); lungs and the surroundings are near −1000 HU."]),
    ],
)
def test_the_lowest_value_counts_wherever_it_is(lowest, said):
    """Large volumes are sampled, but one voxel beside the sampled ones may hold it."""
    array = np.random.default_rng(3).integers(-100, 200, (201, 201, 201), dtype=np.int16)
    array[:9, :9] = -2000
    array[101, 101, 101] = lowest
    _, doubts = doubts_of(Volume(array, np.diag([1.5, 1.5, 1.5, 1.0]), modality="CT"))
    assert doubts == said


def test_segmentations_are_known_from_pictures(chest, chest_segmentation):
    labels = read_label_map(chest_segmentation).array.astype(np.int16)
    picture = np.clip((chest.array + 160) * (255 / 400), 0, 255).astype(np.int16)  # a window, saved as 8 bits
    for array, is_labels in ((labels, True), ((labels > 0).astype(np.int16), True), (picture, False)):
        reasons, _ = doubts_of(Volume(array, chest.ijk_to_ras))
        assert (reasons == [SEGMENTATION]) == is_labels


@pytest.mark.parametrize("factor", [0.001, 1000])
def test_metres_and_micrometres_taken_for_mm(chest, factor):
    with pytest.raises(InputError, match="another unit than mm") as caught:
        reject_unusable(Volume(chest.array, chest.ijk_to_ras @ np.diag([factor] * 3 + [1])))
    assert caught.value.remedy


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])  # of NIfTI, and of ITK's images
def test_a_place_that_was_lost_is_told(chest, signs):
    lost = np.diag([*map(float, signs), 1.0])
    ((), (told,)) = doubts_of(Volume(chest.array, lost, modality="CT"))
    assert "exactly 1 × 1 × 1 mm and start at the origin" in told
    moved = lost.copy()
    moved[2, 3] = 0.5
    assert doubts_of(Volume(chest.array, moved, modality="CT")) == ([], [])
