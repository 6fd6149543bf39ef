import pytest
import torch
from bright_detector import write_bright_model


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))


@pytest.fixture
def bright_model(tmp_path):
    return write_bright_model(tmp_path / "bright")
