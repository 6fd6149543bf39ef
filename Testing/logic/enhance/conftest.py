"""A small body, and networks that change nothing."""

import numpy as np
import pytest

from DeepSegLogic import Volume


@pytest.fixture(scope="session")
def body():
    """A water cylinder with an organ of 60 HU in it: 12 slices of 80×96 pixels, 2×2×6 mm, oblique and left-handed."""
    k, j, i = np.mgrid[:12, :80, :96]
    array = np.where(np.hypot((j - 40) * 2.0, (i - 48) * 2.0) < 70, 0, -1000)
    array = np.where(((k - 6) * 6.0) ** 2 + ((j - 45) * 2.0) ** 2 + ((i - 55) * 2.0) ** 2 < 25**2, 60, array)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([2.0, 2.0, 6.0])
    matrix[:3, 3] = 12, -7, 80
    noise = np.random.default_rng(0).normal(0, 10, array.shape)
    return Volume(np.rint(array + noise).clip(-1024).astype(np.int16), matrix, "body", "CT")


@pytest.fixture(scope="session")
def idle(tmp_path_factory):
    """Files of untrained networks, by task: they add nothing."""
    pytest.importorskip("monai")
    from DeepSegLogic.enhance.network import Cleaner, new_network, save_cleaner

    folder, files = tmp_path_factory.mktemp("idle"), {}
    for task, inputs in (("denoise", 3), ("slices", 1)):
        files[task] = folder / f"{task}.pth"
        save_cleaner(Cleaner(task, new_network(4, inputs), 4, inputs), files[task])
    return files
