"""Sessions with workers of their own."""

import forked
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_workers():
    """Workers start without loading their libraries anew."""
    with forked.workers():
        yield
