import pytest


@pytest.fixture(autouse=True)
def quick(lasting_workers):
    """Commands that are called here leave the process that reads files to the next one."""
