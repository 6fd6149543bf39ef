import pytest

from DeepSegLogic.session import Session


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()
