"""A small phantom whose truth is known, and the real abdomen."""

import numpy as np
import pytest

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume

LIVER, SPLEEN, KIDNEY = 5, 1, 2


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


class Phantom:
    """Three organs of different grey values in fat, on an oblique, anisotropic, left-handed grid."""

    def __init__(self):
        k, j, i = np.ogrid[:40, :48, :56]
        self.truth = np.zeros((40, 48, 56), np.uint8)
        self.truth[((k - 20) / 13) ** 2 + ((j - 22) / 14) ** 2 + ((i - 20) / 13) ** 2 < 1] = LIVER
        self.truth[((k - 20) / 9) ** 2 + ((j - 24) / 9) ** 2 + ((i - 43) / 9) ** 2 < 1] = SPLEEN
        self.truth[(abs(k - 20) < 6) & (abs(j - 41) < 4) & (abs(i - 22) < 8)] = KIDNEY
        rng = np.random.default_rng(0)
        means = np.zeros(6)
        means[[0, LIVER, SPLEEN, KIDNEY]] = -90, 60, 110, 180
        self.volume = Volume((means[self.truth] + rng.normal(0, 12, self.truth.shape)).astype(np.int16), self.matrix())
        self.structures = [structure_for(n, v) for n, v in (("spleen", 1), ("kidney_right", 2), ("liver", 5))]

    @staticmethod
    def matrix():
        angle = np.radians(20)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        matrix = np.eye(4)
        matrix[:3, :3] = turn @ np.diag([-1.5, 1.5, 2.0])
        matrix[:3, 3] = 40, -120, 900
        return matrix

    def labels(self, array=None) -> LabelMap:
        return LabelMap((self.truth if array is None else array).copy(), self.matrix(), list(self.structures))

    def ras(self, *kji):
        return tuple(ijk_to_ras_points([kji[::-1]], self.matrix())[0].tolist())


@pytest.fixture(scope="session")
def phantom():
    return Phantom()


@pytest.fixture
def bitten(phantom):
    """The liver lacks a piece whose middle is voxel (20, 22, 10)."""
    array = phantom.truth.copy()
    k, j, i = np.ogrid[:40, :48, :56]
    array[(array == LIVER) & ((k - 20) ** 2 + (j - 22) ** 2 + (i - 9) ** 2 < 49)] = 0
    return phantom.labels(array)
