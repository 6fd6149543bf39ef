"""Names of devices, checked without torch."""

from __future__ import annotations

import re

from .errors import UsageError


def check_device_name(name: str) -> None:
    """Check that a device can have this name, here or on another machine.

    Raises:
        UsageError: it is not ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``, nor one of them with a number
            (``"cuda:1"``).
    """
    if not re.fullmatch(r"auto|(cuda|mps|cpu)(:[0-9]{1,3})?", name):
        raise UsageError(f"{name!r} is not a device.", "Choose auto, cuda, mps or cpu.", code="usage.device")
