"""Many small pieces of work on the CPU, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch


def each(function: Callable, items: Iterable) -> None:
    """Call ``function`` for all items, one after the other in each of torch's threads.

    Where pieces are small, this costs far less than to let all threads work on every operation and wait for each
    other, above all on a machine that does other things too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that are new take this number over
    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(torch.inference_mode()(function), items):
                pass
    finally:
        torch.set_num_threads(threads)
