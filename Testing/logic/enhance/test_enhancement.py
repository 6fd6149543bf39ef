"""Enhancing a CT: grids, what stays, and input that cannot be enhanced."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from DeepSegLogic import InputError, ModelError, UsageError, Volume, enhance_volume
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.enhance.degradations import thickened
from DeepSegLogic.enhance.network import Cleaner, load_cleaner, new_network, save_cleaner
from DeepSegLogic.evaluation.perturbations import PERTURBATIONS

pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def erratic(tmp_path_factory):
    """A network with random weights, which would add about 200 HU everywhere."""
    torch.manual_seed(0)
    network = new_network(4, 3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
        network.final_conv.bias.fill_(1.0)  # 200 HU everywhere
    path = tmp_path_factory.mktemp("random") / "random.pth"
    save_cleaner(Cleaner("denoise", network, 4, 3), path)
    return path


def test_a_network_that_adds_nothing_leaves_every_voxel(body, idle):
    enhanced = enhance_volume(body, "denoise", network=idle["denoise"], device="cpu")
    np.testing.assert_array_equal(enhanced.volume.array, body.array)
    np.testing.assert_array_equal(enhanced.volume.ijk_to_ras, body.ijk_to_ras)
    assert enhanced.volume.name == "body denoised" and body.name == "body"
    assert enhanced.how["task"] == "denoise" and len(enhanced.how["digest"]) == 64


def test_even_a_bad_network_cannot_shift_the_mean_of_a_region(body, erratic):
    """Whatever it adds, even 200 HU everywhere, what is coarser than 8 mm stays."""
    before = body.array.copy()
    changed = enhance_volume(body, "denoise", network=erratic, device="cpu").volume.array.astype(np.float32)
    assert np.abs(changed - before).max() > 3
    inside = before > -300
    difference = gaussian_filter(np.where(inside, changed - before, 0), (0, 15, 15))[6]
    assert abs(difference[40, 48]) < 1.5
    np.testing.assert_array_equal(body.array, before)


def test_each_orientation_gives_the_same_thin_slices(body, idle):
    plain = enhance_volume(body, "slices", network=idle["slices"], device="cpu")
    assert (plain.axis, plain.factor) == (0, 3)
    assert plain.volume.array.shape == (34, 80, 96)
    for orientation in ("PSR", "LIA"):
        array, matrix = reorient(body.array, body.ijk_to_ras, orientation)
        turned = enhance_volume(
            Volume(np.ascontiguousarray(array), matrix, "t", "CT"), "slices", network=idle["slices"], device="cpu"
        )
        back, place = reorient(turned.volume.array, turned.volume.ijk_to_ras, plain.volume.orientation)
        np.testing.assert_allclose(place, plain.volume.ijk_to_ras, atol=1e-9)
        assert np.abs(back.astype(int) - plain.volume.array).max() <= 1  # rounding


def test_thin_slices_hold_the_scanned_ones_and_agree_with_them(body, idle):
    enhanced = enhance_volume(body, "slices", network=idle["slices"], device="cpu")
    assert enhanced.volume.spacing_ijk == pytest.approx([2, 2, 2])
    points = body.ijk_to_ras @ [5, 6, 7, 1]
    assert enhanced.volume.ijk_to_ras @ [5, 6, 21, 1] == pytest.approx(points)
    seen = thickened(enhanced.volume.array.astype(np.float32), 3, 0)
    assert np.abs(seen - body.array)[1:-1].mean() < 2
    labels = (body.array > 30).astype(np.uint8)
    np.testing.assert_array_equal(enhanced.gathered(enhanced.spread(labels)), labels)


def test_without_a_network_slices_are_interpolated_and_noise_goes_through_the_bundled_one(body, idle):
    plain = enhance_volume(body, "slices")
    assert plain.how == {"task": "slices"}
    same = enhance_volume(body, "slices", network=idle["slices"], device="cpu")  # a network that adds nothing
    np.testing.assert_array_equal(plain.volume.array, same.volume.array)
    noisy = replace(body, array=body.array + np.random.default_rng(2).normal(0, 40, body.array.shape).astype(np.int16))
    bundled = enhance_volume(noisy, "denoise", device="cpu")
    assert bundled.how["network"] == "denoise.pth"
    inside = body.array > -300
    errors = [np.abs(a - body.array.astype(float))[inside].mean() for a in (noisy.array, bundled.volume.array)]
    assert errors[1] < 0.8 * errors[0]


def test_bone_stays_as_it_was(body, erratic):
    ribs = body.array.copy()
    ribs[:, 38:41, 30:70:4] = 700
    changed = enhance_volume(replace(body, array=ribs), "denoise", network=erratic, device="cpu").volume.array
    np.testing.assert_array_equal(changed[ribs == 700], 700)


def test_streaks_of_metal_get_fewer_and_slices_without_metal_stay(body):
    """Rods and streaks of the stress test, in a body whose image without them is known."""
    rods = next(p for p in PERTURBATIONS if p.name == "Metal rods")
    whole = rods.volume(body, 6, np.random.default_rng(0))
    first = int(np.flatnonzero((whole.array > 2500).any((1, 2)))[0])
    truth = body.array[first - 1 : first + 2].astype(np.float32)
    streaked = replace(whole, array=whole.array[first - 1 : first + 2].copy())
    enhanced = enhance_volume(streaked, "metal").volume.array.astype(np.float32)
    np.testing.assert_array_equal(enhanced[0], streaked.array[0])
    metal = streaked.array > 2500
    np.testing.assert_array_equal(enhanced[metal], streaked.array[metal])
    counted = (truth > -500) & ~metal
    counted[0] = False
    before, after = (np.abs(a - truth)[counted].mean() for a in (streaked.array.astype(np.float32), enhanced))
    assert after < 0.75 * before


def changed(body, **fields):
    return replace(body, **fields)


@pytest.mark.parametrize(
    ("make", "task", "words"),
    [
        (lambda b: changed(b, modality="MR"), "denoise", "header says MR"),
        (lambda b: changed(b, array=np.abs(b.array)), "denoise", "no negative values"),
        (lambda b: changed(b, array=np.zeros_like(b.array)), "denoise", "empty"),
        (lambda b: changed(b, array=np.zeros((0, 5, 5), np.int16)), "denoise", "not a 3D volume"),
        (
            lambda b: changed(b, array=np.where(b.array > 50, np.nan, b.array.astype(np.float32))),
            "denoise",
            "NaN or infinite",
        ),
        (lambda b: changed(b, ijk_to_ras=np.diag([2.0, 2, 2, 1])), "slices", "thin already"),
        (lambda b: changed(b, array=b.array[:1]), "slices", "1 slice, too few"),
        (lambda b: changed(b, array=b.array[:3]), "slices", "3 slices, too few"),
        (lambda b: b, "metal", "no metal"),
    ],
)
def test_what_cannot_be_enhanced_gets_a_sentence(body, idle, make, task, words):
    with pytest.raises(InputError, match=words) as raised:
        enhance_volume(make(body), task, network=idle.get(task), device="cpu")
    assert raised.value.remedy


def test_one_slice_can_be_denoised(body, idle):
    one = replace(body, array=body.array[5:6].copy())
    assert enhance_volume(one, "denoise", network=idle["denoise"], device="cpu").volume.array.shape == (1, 80, 96)


def test_unknown_tasks_and_networks_that_do_not_fit_are_refused(body, idle, tmp_path):
    with pytest.raises(UsageError, match="no way to enhance"):
        enhance_volume(body, "sharpen")
    with pytest.raises(UsageError, match="without a network"):
        enhance_volume(body, "metal", network=idle["denoise"])
    with pytest.raises(ModelError, match="made for slices, not for denoise"):
        enhance_volume(body, "denoise", network=idle["slices"], device="cpu")
    with pytest.raises(ModelError, match="missing"):
        enhance_volume(body, "denoise", network=tmp_path / "none.pth", device="cpu")


class Bomb:
    def __reduce__(self):
        return (print, ("this ran",))


def test_files_are_read_as_data_and_their_sizes_are_bounded(tmp_path, idle, capsys):
    code = tmp_path / "code.pth"
    code.write_bytes(pickle.dumps({"format": Bomb()}))
    with pytest.raises(ModelError):
        load_cleaner(code, "denoise")
    assert "this ran" not in capsys.readouterr().out
    good = torch.load(idle["denoise"], weights_only=True)
    for field, value in (("width", 100_000), ("width", "8"), ("inputs", 7), ("format", "other"), ("weights", [1])):
        torch.save({**good, field: value}, code)
        with pytest.raises(ModelError):
            load_cleaner(code, "denoise")
    torch.save({**good, "width": 8}, code)
    with pytest.raises(ModelError, match="do not fit"):
        load_cleaner(code, "denoise")


def test_a_run_can_be_cancelled(body, idle):
    from DeepSegLogic import Cancelled

    with pytest.raises(Cancelled):
        enhance_volume(body, "slices", network=idle["slices"], device="cpu", cancel=lambda: True)


def test_without_the_packages_it_is_said_how_to_get_them(body, monkeypatch):
    from DeepSegLogic import ResourceError
    from DeepSegLogic.enhance import packages
    from DeepSegLogic.session.enhancements import enhancements

    assert list(enhancements()) == ["denoise", "slices", "metal"]
    monkeypatch.setattr(packages, "can_import", lambda name: name != "monai")
    assert enhancements() == {}
    with pytest.raises(ResourceError, match="MONAI") as raised:
        enhance_volume(body, "denoise")
    assert raised.value.action == "install_extra"
