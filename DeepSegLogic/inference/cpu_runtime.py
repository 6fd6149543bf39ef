"""How work is run fast on the CPU: many small pieces in parallel, and large blocks of memory kept."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1
_GLIBC_DEFAULT = 128 * 1024
_lock = threading.Lock()
_users: list[object] = []


def for_each(function: Callable[[T], None], items: Iterable[T]) -> None:
    """Call ``function`` for all items, in as many Python threads as torch has, each computing on one core.

    For small pieces this costs far less than letting all of torch's threads share and await every operation, above
    all on a machine that is busy with other things too.
    """
    threads = torch.get_num_threads()
    left = iter(list(items))  # all threads take from it; of a list that is safe
    ready = threading.Barrier(threads + 1)

    @torch.inference_mode()
    def work() -> None:
        torch.get_num_threads()  # else the first operation sets the number again
        torch.set_num_threads(1)  # of this thread, and of those in which torch is used for the first time from now on
        ready.wait()
        for item in left:
            function(item)

    with ThreadPoolExecutor(threads) as pool:
        try:
            runs = [pool.submit(work) for _ in range(threads)]
            ready.wait()
        except BaseException:
            ready.abort()  # else the threads that could be started would wait for ever
            raise
        finally:
            torch.set_num_threads(threads)  # so that no thread of somebody else computes on one core for ever
        for run in runs:
            run.result()


@contextmanager
def large_blocks_kept() -> Iterator[None]:
    """Within it, freed blocks stay in the process (Linux with glibc only).

    glibc maps every large tensor afresh and unmaps it when it is freed, so that each layer faults all its pages in
    again; a network then spends as long in the kernel as in arithmetic. Raising two thresholds keeps the blocks. When
    the last of several users leaves, the blocks are returned and glibc's defaults are restored.
    """
    libc, user = _glibc(), object()
    if libc is None:
        yield
        return
    with _lock:
        _users.append(user)
        _set_thresholds(libc, _KEEP)
    try:
        yield
    finally:
        with _lock:
            _users.remove(user)
            if not _users:
                _set_thresholds(libc, _GLIBC_DEFAULT)
                libc.malloc_trim(0)


def _set_thresholds(libc: ctypes.CDLL, size: int) -> None:
    libc.mallopt(_M_MMAP_THRESHOLD, size)
    libc.mallopt(_M_TRIM_THRESHOLD, size)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (musl has no such symbol)
    except (OSError, AttributeError):
        return None
    return libc
