"""Trainings of small networks, which one thread does fastest."""

import contextlib

import torch


@contextlib.contextmanager
def one_thread():
    """Within it torch computes with one thread; half precision depends on their number, so other tests need theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
