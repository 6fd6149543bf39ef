import pytest

from .threads import one_thread


@pytest.fixture(autouse=True)
def fast():
    with one_thread():
        yield
