"""Keep large blocks in the process while a network runs on the CPU (Linux with glibc only).

glibc maps every large tensor afresh and returns it when freed, so that each layer faults all its pages in
again; a network then spends as long in the kernel as in its arithmetic. Raising two thresholds keeps the
blocks. Elsewhere this does nothing.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1
_GLIBC_DEFAULT = 128 * 1024
_lock, _users = threading.Lock(), []


@contextmanager
def large_blocks_kept():
    """While it lasts, freed blocks stay in the process; after the last of several they go back and glibc's defaults
    hold."""
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


def _set_thresholds(libc, size: int) -> None:
    libc.mallopt(_M_MMAP_THRESHOLD, size)
    libc.mallopt(_M_TRIM_THRESHOLD, size)


def _glibc():
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (musl has no such symbol)
    except (OSError, AttributeError):
        return None
    return libc
