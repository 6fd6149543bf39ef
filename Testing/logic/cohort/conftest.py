"""A small cohort of real CT."""

import numpy as np
import pytest

from DeepSegLogic.cohort import Settings, find_cases
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume, write_volume


@pytest.fixture(scope="module")
def piece(chest_ct):
    """A small part of the real chest CT, so that a case takes a second."""
    volume = read_volume(chest_ct)
    return Volume(np.ascontiguousarray(volume.array[8:20, 24:104, 24:104]), volume.ijk_to_ras)


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler that is running, whose worker is a thread here: runs on it start no processes."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def cohort(tmp_path, piece):
    """Three volumes, of which one is truncated, and what is asked of them."""
    folder = tmp_path / "in"
    for name in ("a", "patient 2/b", "broken"):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(piece, path)
    whole = (folder / "broken.nii.gz").read_bytes()
    (folder / "broken.nii.gz").write_bytes(whole[: len(whole) // 2])
    return find_cases([folder]), Settings(tmp_path / "out", "ct_demo", ["lung_left", "lung_right"], quality="draft")
