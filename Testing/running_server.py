"""A server process on the loopback address, for tests; its "networks" are ``logic/service/stand_in_handlers.py``."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from free_ports import free_port

from DeepSegLogic import Volume
from DeepSegLogic.remote.server import Server
from DeepSegLogic.service.users import Users

HERE = Path(__file__).resolve().parent / "logic" / "service"
CHECKOUT = str(HERE.parents[2])  # in Slicer, no pip has installed it


class Running:
    """A server process, its folder, and users."""

    def __init__(self, folder, handlers="stand_in_handlers", **options):
        self.folder, self.options = folder, {"handlers": handlers, "reserve": 0, **options}
        self.users = Users(folder / "server")
        self.tokens = {name: self.users.add(name) for name in ("anna", "ben")}
        self.url = self.fingerprint = ""
        self._port, self._process = free_port(), None
        self.start()

    def start(self, **options):
        self.options.update(options)
        told = json.dumps({"folder": str(self.folder / "server"), "port": self._port, **self.options})
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "server_process.py"), told],
                env={
                    **os.environ,
                    "DEEPSEG_TEST_FOLDER": str(self.folder),
                    "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), CHECKOUT, os.environ.get("PYTHONPATH")])),
                },
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        line = self._process.stdout.readline().split()
        assert line, (self.folder / "log").read_text()
        self.url, self.fingerprint = line[0], line[1] if len(line) > 1 else ""

    def kill(self):
        """As the system does when it needs memory; the workers must end by themselves."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        assert not psutil.wait_procs(children, 20)[1], "a worker was left"

    def stop(self):
        if self._process.poll() is None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            self._process.wait(30)
            assert not psutil.wait_procs(children, 20)[1], "a worker was left"
        self._process.stdout.close()

    def client(self, user="anna", **options):
        return Server(self.url, self.tokens[user], self.fingerprint, **options)

    def headers(self, user="anna"):
        return {"Authorization": f"Bearer {self.tokens[user]}"}

    @property
    def starts(self):
        path = self.folder / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def close_gate(self, after=0):
        """All models wait, once so many runs were started."""
        (self.folder / "closed").write_text(str(after))

    def open_gate(self):
        (self.folder / "gate").touch()

    def until(self, holds, seconds=30):
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)
        return found


def ct(seed=0, shape=(12, 40, 30)):
    """A volume like no other, of noise as CT has it, on an oblique grid."""
    random = np.random.default_rng(seed)
    turned = np.array([[0.96, -0.28, 0, 10.5], [0.84, 2.88, 0.0, -3.25], [0, 0, 5, 7.125], [0, 0, 0, 1]])
    return Volume(random.integers(-1000, 1200, shape, np.int16), turned, "patient Müller", "CT")
