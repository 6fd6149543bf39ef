"""Grad-CAM and occlusion of networks whose reasons are known."""

import numpy as np
import pytest
import torch
from torch import nn

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models import Model, ModelCard
from DeepSegLogic.models.plan import Normalization, Plan
from DeepSegLogic.review.attribution import explain, place_in
from DeepSegLogic.review.saliency import RADIUS_MM, Score, grad_cam
from DeepSegLogic.util.errors import Cancelled, InputError, ModelError, UsageError

LABELS = {1: "liver", 2: "spleen"}
FAR = 12  # voxels from what is explained to its reason


class LooksAside(nn.Module):
    """Calls a voxel liver if what lies ``FAR`` voxels further along X is bright."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 2, 1), nn.Conv3d(2, 3, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1, 1))
            self.first.bias.zero_()
            self.second.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 0]]).reshape(3, 2, 1, 1, 1))
            self.second.bias.copy_(torch.tensor([0.0, -2, -9]))

    def forward(self, x):
        return self.second(torch.relu(self.first(x)).roll(-FAR, 4))


def model(network=None, **changes) -> Model:
    plan = {
        "orientation": "RAS",
        "spacing": (2.0, 2.0, 2.0),
        "patch_size": (24, 24, 36),
        "normalization": Normalization("none"),
        "labels": LABELS,
        "crop_to_nonzero": False,
    }
    card = ModelCard(id="tiny", title="Tiny", modality=None, structures=list(LABELS.values()))
    return Model(card, Plan(**(plan | changes)), [network or LooksAside()])


def spot(kji, shape=(24, 24, 36)) -> Volume:
    array = np.zeros(shape, np.float32)
    k, j, i = kji
    array[k - 4 : k + 5, j - 4 : j + 5, i - 4 : i + 5] = 6
    return Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]), "spot")


def weighted_centre(array) -> np.ndarray:
    return np.array([np.average(n, weights=array) for n in np.indices(array.shape)])


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_the_map_shows_the_reason_and_not_the_place(method):
    volume, at = spot((12, 12, 24)), (24.0, 24.0, 24.0)  # the place is at voxel 12 of each axis
    found = explain(volume, model(), "liver", at, method=method, device="cpu")
    assert found.array.shape == volume.shape_kji and found.array.dtype == np.uint8
    assert found.array.max() >= 250 and found.method == method and found.at == at
    np.testing.assert_allclose(weighted_centre(found.array), (12, 12, 24), atol=2.5)
    assert found.array[12, 12, 24] > 5 * int(found.array[12, 12, 10])


def test_the_probability_is_the_mean_over_the_sphere():
    volume, at = spot((12, 12, 24)), (24.0, 24.0, 24.0)
    found = explain(volume, model(), "Liver", at, method="occlusion", device="cpu")
    with torch.no_grad():
        chances = LooksAside()(torch.from_numpy(volume.array)[None, None])[0].softmax(0)[1].numpy()
    away = np.linalg.norm((np.indices(volume.array.shape).T - 12).T * 2.0, axis=0)
    assert found.probability == pytest.approx(chances[away <= RADIUS_MM].mean(), abs=1e-5)
    assert 0 < found.largest < found.probability


@pytest.mark.parametrize("regions", [None, (1, 2, 3)])
def test_the_probability_is_that_of_a_run_with_the_models_temperature(regions):
    """As confidences and uncertainty maps are."""
    volume, at = spot((12, 12, 24)), (24.0, 24.0, 24.0)
    labels = LABELS if regions is None else {1: "liver", 2: "spleen", 3: "tumour"}
    calibrated = model(labels=labels, regions=regions, temperature=4.0 if regions is None else (1.0, 4.0, 2.0))
    name, channel = ("liver", 1) if regions is None else ("spleen", 1)
    found = explain(volume, calibrated, name, at, method="occlusion", device="cpu")
    with torch.no_grad():
        logits = LooksAside()(torch.from_numpy(volume.array)[None, None])[0] / 4
    chances = (logits.softmax(0) if regions is None else logits.sigmoid())[channel].numpy()
    away = np.linalg.norm((np.indices(volume.array.shape).T - 12).T * 2.0, axis=0)
    assert found.probability == pytest.approx(chances[away <= RADIUS_MM].mean(), abs=1e-5)


def test_grad_cam_follows_the_formula():
    """Selvaraju et al.: the ReLU of the channels, weighted by the mean of their gradients."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, 2, 1), nn.Conv3d(4, 3, 1), nn.Upsample(scale_factor=2))
    window, inside = torch.randn(1, 1, 16, 16, 16), torch.zeros(16, 16, 16, dtype=torch.bool)
    inside[6:10, 6:10, 6:10] = True
    score = Score(network, inside, 2, True, lambda: None)
    found = grad_cam(score, window, "tiny")
    features = network[0](window).detach().requires_grad_()
    network[2](network[1](features))[0, 2][inside].mean().backward()
    expected = (features.grad.mean((2, 3, 4), keepdim=True) * features).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(expected, (16, 16, 16), mode="trilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(found, (expected / expected.max()).detach(), atol=1e-5, rtol=1e-4)


def test_another_orientation_shows_the_same_place():
    plain, at = spot((12, 12, 24)), (24.0, 24.0, 24.0)
    matrix = np.diag([-2.0, -2.0, 2.0, 1.0])
    matrix[:2, 3] = 2 * 35, 2 * 23
    turned = Volume(np.ascontiguousarray(plain.array[:, ::-1, ::-1]), matrix, "turned")
    one, other = (explain(v, model(), "liver", at, method="occlusion", device="cpu") for v in (plain, turned))
    assert np.abs(one.array.astype(int) - other.array[:, ::-1, ::-1]).max() <= 1


def test_a_volume_smaller_than_the_window_is_padded_as_in_a_run():
    found = explain(spot((8, 8, 24), (16, 16, 36)), model(), "liver", (24.0, 16.0, 16.0), device="cpu")
    assert found.array.shape == (16, 16, 36)
    np.testing.assert_allclose(weighted_centre(found.array)[2], 24, atol=2.5)


def test_regions_are_explained_by_their_own_channel():
    regions = model(regions=(2, 1, 3), labels={2: "spleen", 1: "liver", 3: "tumour"})
    found = explain(spot((12, 12, 24)), regions, "liver", (24.0, 24.0, 24.0), method="occlusion", device="cpu")
    with torch.no_grad():
        expected = torch.tensor(6.0 - 2).sigmoid().item()
    assert 0.5 * expected < found.probability <= expected


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"structure": "brain"}, UsageError, "no structure named 'brain'"),
        ({"at": (900.0, 0.0, 0.0)}, InputError, "lies outside of spot"),
        ({"method": "magic"}, UsageError, "no method named 'magic'"),
        ({"cancel": lambda: True}, Cancelled, "Cancelled"),
    ],
)
def test_what_cannot_be_explained_is_told(changes, error, words):
    request = {"structure": "liver", "at": (24.0, 24.0, 24.0), "device": "cpu"} | changes
    with pytest.raises(error, match=words):
        explain(spot((12, 12, 24)), model(), request.pop("structure"), request.pop("at"), **request)


def test_torchscript_hides_its_layers_but_not_its_output():
    scripted = torch.jit.trace(LooksAside().eval(), torch.zeros(1, 1, 24, 24, 36))
    volume, at = spot((12, 12, 24)), (24.0, 24.0, 24.0)
    with pytest.raises(ModelError, match=r"cannot look into tiny.*occlusion"):
        explain(volume, model(scripted), "liver", at, device="cpu")
    found = explain(volume, model(scripted), "liver", at, method="occlusion", device="cpu")
    np.testing.assert_allclose(weighted_centre(found.array), (12, 12, 24), atol=2.5)


def test_the_place_in_a_structure_is_its_thickest():
    array = np.zeros((20, 20, 30), np.uint8)
    array[5:16, 5:16, 3:14], array[10, 10, 14:28] = 1, 1  # a ball with a tail
    labels = LabelMap(array, np.diag([2.0, 2.0, 2.0, 1.0]), [Structure(1, "liver", "Liver"), Structure(2, "spleen")])
    r, a, s = place_in(labels, "Liver")
    assert (r, a, s) == (16.0, 20.0, 20.0)
    with pytest.raises(UsageError, match="spleen has no voxels"):
        place_in(labels, "spleen")
