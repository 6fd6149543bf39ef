"""Servers for tests; after each test none of their processes may be left."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi", reason="needs the extra server")

from running_server import Running

from DeepSegLogic.remote import known

HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # not in the background


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


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """No saved servers, no key store."""
    monkeypatch.setattr(known, "_default_path", lambda: tmp_path / "user" / "servers.json")
    monkeypatch.setattr(known, "_key_store", lambda: None)
    monkeypatch.delenv("DEEPSEG_TOKEN", raising=False)


@pytest.fixture(scope="package")
def command(tmp_path_factory):
    """`deepseg serve --tls` with real workers."""
    folder = tmp_path_factory.mktemp("serve")
    run = [sys.executable, "-c", f"{HEARD}; from DeepSegLogic.cli import run; run()"]
    token = subprocess.run([*run, "tokens", "add", "ward", "--folder", folder], capture_output=True, text=True)
    serve = ["serve", "--port", "0", "--tls", "--folder", folder, "--device", "cpu"]
    process = subprocess.Popen([*run, *serve], stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True)
    url, fingerprint = (process.stdout.readline().split()[-1] for _ in range(2))
    yield SimpleNamespace(url=url, fingerprint=fingerprint, token=token.stdout.strip(), folder=folder)
    if os.name == "nt":  # where Ctrl-C needs a console
        process.kill()
        process.wait()
    else:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    process.stdout.close()
