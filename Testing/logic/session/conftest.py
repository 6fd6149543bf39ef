import pytest
from forked_workers import warm_workers as warm_workers

from DeepSegLogic.session import Session


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()
