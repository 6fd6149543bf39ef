"""What a scan is: real CTs, and what is none."""

import itertools

import numpy as np
import pytest
import torch

from DeepSegLogic import ModelError, Scan, Volume, read_volume, what_is
from DeepSegLogic.classify import scan as scan_module
from DeepSegLogic.classify.names import REGIONS
from DeepSegLogic.classify.orientation import turned
from DeepSegLogic.classify.scan import in_order, parts_of
from DeepSegLogic.util.resources import resource_path


@pytest.fixture(scope="module")
def chest(chest_ct):
    return read_volume(chest_ct)


def flipped(volume, *axes):
    """The same header over voxels that lie the other way round: what a wrong header looks like."""
    return Volume(np.ascontiguousarray(np.flip(volume.array, axes)), volume.ijk_to_ras, volume.name, volume.modality)


def test_the_order_of_a_body_is_found_as_by_trying_all_orders():
    rng = np.random.default_rng(0)
    for _ in range(20):
        log = rng.normal(0, 1, (6, 4))
        paths = [
            p for p in itertools.product(range(4), repeat=6) if all(b - a in (0, 1) for a, b in itertools.pairwise(p))
        ]
        best = max(paths, key=lambda path: sum(log[k, region] for k, region in enumerate(path)))
        path, total = in_order(log)
        assert tuple(path) == best and total == pytest.approx(sum(log[k, region] for k, region in enumerate(best)))


def test_unsure_slices_have_no_region():
    log = np.full((9, len(REGIONS)), np.log(1 / 6))
    log[:6] = np.log(1e-4)
    log[:3, 2] = log[3:6, 3] = np.log(1 - 5e-4)  # nothing is known of the last three
    parts, names = parts_of(log, np.array([2] * 3 + [3] * 3 + [4] * 3), 100.0)
    assert names == ["abdomen"] * 3 + ["chest"] * 3 + [""] * 3
    assert [(p.region, p.low_mm, p.high_mm) for p in parts] == [("abdomen", 96, 120), ("chest", 120, 144)]
    assert all(p.probability > 0.99 for p in parts)


def test_rules_of_orientation():
    """A body of fat with a spine behind and a liver on the right."""
    body = np.full((10, 56, 56), -1000, np.float32)
    body[:, 12:44, 8:48], body[:, 14:18, 26:30], body[:, 20:40, 34:46] = -100, 600, 100
    regions = ["abdomen"] * 10
    assert turned(body, regions, 0.0) == ()
    assert turned(body[:, ::-1], regions, 0.0) == ("front_to_back",)
    assert turned(body[:, :, ::-1], regions, 0.0) == ("mirrored",)
    assert turned(body[:, ::-1, ::-1], regions, 50.0) == ("upside_down", "front_to_back", "mirrored")
    assert turned(body[:, ::-1, ::-1], ["neck"] * 10, 0.0) == ()  # not told there
    assert turned(body[:3, ::-1], regions[:3], 0.0) == ()  # too little
    assert turned(np.full((10, 56, 56), -1000, np.float32), regions, 0.0) == ()


def test_a_real_chest(chest):
    found = what_is(chest)
    assert found.modality == "CT" and "chest" in found.regions and "abdomen" in found.regions
    assert not set(found.regions) & {"head", "pelvis", "legs"} and not found.flips
    lungs = next(part for part in found.parts if part.region == "chest")
    assert 180 < lungs.high_mm - lungs.low_mm < 280
    assert found.as_json()["regions"] == list(found.regions)


def test_another_grid_shows_the_same(chest):
    array = np.ascontiguousarray(chest.array[::-1].transpose(1, 0, 2))
    matrix = chest.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * (len(chest.array) - 1)
    matrix[:3, 1], matrix[:3, 2] = -chest.ijk_to_ras[:3, 2], chest.ijk_to_ras[:3, 1]
    found, before = what_is(Volume(array, matrix, modality=chest.modality)), what_is(chest)
    assert found.regions == before.regions
    for part, same in zip(found.parts, before.parts, strict=True):
        assert (part.low_mm, part.high_mm) == pytest.approx((same.low_mm, same.high_mm), abs=10)


@pytest.mark.parametrize(
    ("file", "shown", "hidden"),
    [
        ("abdomen_ct/ct.nii.gz", {"abdomen", "pelvis"}, {"head", "neck", "legs"}),
        ("abdomen_ct_dicom/series", {"abdomen"}, {"head", "neck", "legs", "pelvis"}),
        ("ct_unlabelled/head.nii.gz", {"head"}, {"abdomen", "pelvis", "legs"}),
    ],
)
def test_real_scans(shared_data, file, shown, hidden):
    """It learnt from these people: how it does on others is measured in docs/classify.md."""
    found = what_is(read_volume(shared_data / file))
    assert found.modality == "CT" and shown <= set(found.regions) and not hidden & set(found.regions)
    assert "upside_down" not in found.flips


def test_a_scan_that_lies_the_wrong_way_round(chest):
    assert "upside_down" in what_is(flipped(chest, 0)).flips
    assert "front_to_back" in what_is(flipped(chest, 1)).flips


def _noise(rng, shape):
    return rng.normal(0, 300, shape)


def _phantom(rng, shape):
    y, x = np.meshgrid(np.arange(shape[1]) - 60, np.arange(shape[2]) - 60, indexing="ij")
    return np.where(np.hypot(x, y) < 35, 0, -1000) + rng.normal(0, 5, shape)


def _labels(rng, shape):
    return np.where(_phantom(rng, shape) > -500, 3, 0)


@pytest.mark.parametrize("made", [_noise, _phantom, _labels])
def test_what_is_no_body_has_no_regions(made):
    array = made(np.random.default_rng(0), (60, 120, 120)).astype(np.int16)
    found = what_is(Volume(array, np.diag([3.0, 3.0, 5.0, 1.0])))
    assert found.parts == () and found.flips == ()


def test_an_mr(shared_data):
    mr = read_volume(shared_data / "abdomen_mr" / "mr.nii.gz")
    assert what_is(mr).parts == () and what_is(mr).modality != "CT"
    mr.modality = "MR"
    assert what_is(mr).modality == "MR" and what_is(mr).parts == ()


def test_what_shows_too_little(chest):
    middle = chest.array[16:17]
    for array, matrix in (
        (middle, chest.ijk_to_ras),
        (chest.array, np.diag([0.01, 0.01, 0.01, 1.0])),
        (chest.array[:, 60:70, 60:70], chest.ijk_to_ras),
        (chest.array[10:25, 44:92, 16:68], chest.ijk_to_ras),
    ):
        found = what_is(Volume(np.ascontiguousarray(array), matrix))
        assert found.parts == ()


def test_what_no_model_can_use():
    for array in (np.zeros((0, 4, 4)), np.zeros((9, 9, 9)), np.full((9, 9, 9), np.nan)):
        assert what_is(Volume(array.astype(np.float32), np.diag([9.0, 9, 9, 1]))) == Scan()


def test_the_weights_are_small_and_only_numbers():
    path = resource_path("Models", "scan.pth")
    assert path.stat().st_size < 2_000_000
    content = torch.load(path, weights_only=True)
    assert set(content) == {"version", "temperature", "weights"}


def test_damaged_weights(tmp_path, monkeypatch):
    damaged = tmp_path / "scan.pth"
    monkeypatch.setattr(scan_module, "resource_path", lambda *_: damaged)
    scan_module._network.cache_clear()
    try:
        for content in ({"weights": {}}, {"weights": {"look": 1}, "temperature": 1.0}):
            torch.save(content, damaged)
            with pytest.raises(ModelError, match=r"scan\.pth"):
                scan_module._network()
    finally:
        scan_module._network.cache_clear()
