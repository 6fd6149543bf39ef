"""Keep large blocks in the process while a network runs on the CPU (Linux with glibc only).

glibc maps every large tensor afresh and returns it when freed, so that each layer faults all its pages in
again; a network then spends as long in the kernel as in its arithmetic. Raising two thresholds keeps the
blocks. Elsewhere this does nothing.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1
_GLIBC_DEFAULT = 128 * 1024


@contextmanager
def large_blocks_kept():
    """While it lasts, freed blocks stay in the process; afterwards they go back and glibc's defaults hold."""
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _KEEP)
    libc.mallopt(_M_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _GLIBC_DEFAULT)
        libc.mallopt(_M_TRIM_THRESHOLD, _GLIBC_DEFAULT)
        libc.malloc_trim(0)


def _glibc():
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (musl has no such symbol)
    except (OSError, AttributeError):
        return None
    return libc
