"""A real Slurm of one machine for tests: munged, slurmctld and slurmd, on loopback, in a folder of their own."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from free_ports import free_port

SETTINGS = """
ClusterName=deepseg
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=main Nodes=ALL Default=YES
"""


class Cluster:
    """A running cluster; ``environment`` makes Slurm's commands use it."""

    def __init__(self, folder: Path):
        self.folder, self.environment = folder, os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *command: object) -> str:
        done = subprocess.run([*map(str, command)], env=self.environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until(self, holds: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, (self.folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.1)

    def until_ended(self) -> None:
        self.until(lambda: not self.call("squeue", "--noheader"), 300)


@contextmanager
def running() -> Iterator[Cluster]:
    """Start the cluster; its jobs and daemons end with the ``with`` block."""
    search = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=search)]:
        pytest.skip(f"needs {', '.join(missing)} (apt-get install slurm-wlm munge)")
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:  # short: sockets lie in it
        folder = Path(name)
        for inside in ("state", "spool"):
            (folder / inside).mkdir()
        facts = {
            "host": socket.gethostname().partition(".")[0],
            "user": getpass.getuser(),
            "ports": (free_port(), free_port()),
        }
        (folder / "slurm.conf").write_text(SETTINGS.format(folder=folder, **facts), "utf-8")
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        cluster = Cluster(folder)
        munge = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        commands = [
            ["munged", "--foreground", "--force", *(f"--{n}={folder}/munge.{suffix}" for n, suffix in munge.items())],
            ["slurmctld", "-D", "-f", folder / "slurm.conf"],
            ["slurmd", "-D", "-f", folder / "slurm.conf"],
        ]
        ready = [folder / "munge.socket", folder / "slurmctld.pid", folder / "slurmd.pid"]
        for command, made in zip(commands, ready, strict=True):
            process = subprocess.Popen(
                [shutil.which(command[0], path=search), *command[1:]],
                env=cluster.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_end, process)
            cluster.until(lambda process=process, made=made: made.exists() or process.poll() is not None)
            assert process.poll() is None, f"{command[0]} ended; see {folder}"
        cluster.until(lambda: "idle" in cluster.call("sinfo", "--noheader", "--format=%T"))
        stack.callback(cluster.until_ended)
        stack.callback(lambda: cluster.call("scancel", "--user", facts["user"]))
        yield cluster


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(30)
