"""Many small pieces in parallel."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from DeepSegLogic.inference import cpu_runtime
from DeepSegLogic.inference.cpu_runtime import for_each


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_each_piece_computes_on_one_core_and_threads_that_start_meanwhile_on_all():
    done, cores, others = [], [], []

    def piece(number):
        cores.append(torch.get_num_threads())
        other = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
        other.start()
        other.join()
        done.append(number)

    for_each(piece, range(20))
    assert sorted(done) == list(range(20))
    assert set(cores) == {1} and set(others) == {2} and torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_piece_is_raised_and_leaves_the_number_of_threads():
    with pytest.raises(IndexError):
        for_each([].__getitem__, range(3))
    for_each(print, [])
    assert torch.get_num_threads() == 2


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("two_threads")
def test_a_machine_that_starts_no_more_threads_says_so(monkeypatch):
    submitted = []

    class Short(ThreadPoolExecutor):
        def submit(self, *arguments, **options):
            if submitted:
                raise RuntimeError("can't start new thread")
            submitted.append(super().submit(*arguments, **options))
            return submitted[0]

    monkeypatch.setattr(cpu_runtime, "ThreadPoolExecutor", Short)
    with pytest.raises(RuntimeError, match="new thread"):
        for_each(print, range(3))
    assert torch.get_num_threads() == 2
