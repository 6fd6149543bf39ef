import pytest

from DeepSegLogic.session import Session


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(lasting_workers):
    """Sessions leave their workers to the next one."""
