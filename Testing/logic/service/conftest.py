"""Servers for tests; after each test none of their processes may be left."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra server")

from running_server import Running


@pytest.fixture
def make_server(tmp_path):
    made = []

    def make(**options):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Running(folder, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all tests of a file that leave it as it was."""
    running = Running(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()
