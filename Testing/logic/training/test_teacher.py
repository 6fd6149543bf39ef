"""A teacher is sure only of what its network says clearly, where the density is possible, and in one piece."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from DeepSegLogic.networks.unet import build_unet
from DeepSegLogic.training.cases import BACKGROUND
from DeepSegLogic.training.teacher import Teacher
from DeepSegLogic.training.train import Settings

SETTINGS = Settings((BACKGROUND, "liver", "ribs_left"), 4.0, (16, 16, 16), (4, 4), (1, 1), (1, 1), (1,))


@pytest.fixture
def ct():
    """Two blocks of liver's density, a large and a small one, and two of bone, in fat."""
    image = np.full((32, 32, 32), -100, np.int16)
    image[4:16, 4:28, 4:28], image[24:28, 4:8, 4:8] = 60, 60
    image[24:28, 14:18, 4:8], image[24:28, 14:18, 20:24] = 500, 500
    return image


def teacher_that_says(monkeypatch, chances):
    """A teacher whose network is a rule: HU to the probabilities of its classes."""

    class Rule(torch.nn.Module):
        def forward(self, patch):
            return chances(patch[:, 0] * 200).clamp(min=1e-6).log()

        def load_state_dict(self, weights):
            pass

    monkeypatch.setattr("DeepSegLogic.training.teacher.build_unet", lambda *_: Rule())
    return Teacher({}, SETTINGS)


def by_density(sure):
    def chances(hu):
        liver, bone = (hu > 0) & (hu < 200), hu > 300
        high = [~(liver | bone), liver, bone]
        return torch.stack([torch.where(h, sure, (1 - sure) / 2) for h in high], 1)

    return chances


def test_largest_piece_of_an_organ_and_all_ribs(ct, monkeypatch):
    found = teacher_that_says(monkeypatch, by_density(0.99)).sure(ct, (4.0, 4.0, 4.0))
    assert (found[6:14, 6:26, 6:26] == 1).all()
    assert not (found[23:29, 3:9, 3:9] == 1).any()
    assert (found[25:27, 15:17, 5:7] == 2).all() and (found[25:27, 15:17, 21:23] == 2).all()
    assert (found[20, 20:30, 10:20] == 0).all()


def test_nothing_where_it_doubts(ct, monkeypatch):
    assert (teacher_that_says(monkeypatch, by_density(0.8)).sure(ct, (4.0, 4.0, 4.0)) == -1).all()


def test_nothing_of_an_impossible_density(ct, monkeypatch):
    def everything_is_liver(hu):
        return torch.stack([torch.full_like(hu, p) for p in (0.005, 0.99, 0.005)], 1)

    found = teacher_that_says(monkeypatch, everything_is_liver).sure(ct, (4.0, 4.0, 4.0))
    assert set(np.unique(found)) == {-1, 1}
    assert not (found[binary_erosion(ct < -50)] == 1).any()  # the densities of voxels at a border are mixed


def test_runs_with_a_real_network(ct):
    torch.manual_seed(0)
    network = build_unet(SETTINGS.plan().architecture, 1, 3)
    found = Teacher(network.state_dict(), SETTINGS).sure(ct, (2.0, 3.0, 4.0))
    assert found.shape == ct.shape and set(np.unique(found)) <= {-1, 0, 1, 2}
