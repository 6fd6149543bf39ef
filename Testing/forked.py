"""Starts our own programs at once: in forks of a process that has loaded their libraries.

For tests that are about something else than a program's start. Only Linux forks; elsewhere a program starts as usual.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

_WIDTH = 12


def popen(modules: tuple[str, ...], command: list[str], *, env, stdin=None, stdout=None, stderr=None, **options):
    """Like :class:`subprocess.Popen`.

    Args:
        modules: that are loaded already when the program starts.
        command: of this Python: ``[sys.executable, "-m" or "-c", ...]``.
        env, stdin, stdout, stderr: as of ``Popen``.
        options: others of ``Popen``; of these, forks know ``encoding`` and ``start_new_session``.
    """
    if sys.platform != "linux":
        return subprocess.Popen(command, env=env, stdin=stdin, stdout=stdout, stderr=stderr, **options)
    assert command[0] == sys.executable
    return Forked(_loaded(modules), command[1:], dict(env), (stdin, stdout, stderr), **options)


class Forked:
    """A running fork, with what our tests use of :class:`subprocess.Popen`."""

    def __init__(
        self, loaded: socket.socket, arguments, env, streams, encoding=None, start_new_session=False, creationflags=0
    ):
        given, own = [], []
        for number, stream in enumerate(streams):
            if stream == subprocess.PIPE:
                its, ours = os.pipe() if number == 0 else reversed(os.pipe())
                mode = ("r" if number else "w") + ("" if encoding else "b")
                own.append(os.fdopen(ours, mode, encoding=encoding))
            else:
                its = os.dup(stream.fileno() if hasattr(stream, "fileno") else number)
                own.append(None)
            given.append(its)
        self.stdin, self.stdout, self.stderr = own
        self._told, end = os.pipe()
        told = json.dumps([arguments, env, str(Path.cwd()), start_new_session])
        socket.send_fds(loaded, [told.encode()], [*given, end])
        for descriptor in (*given, end):
            os.close(descriptor)
        self.pid, self.returncode = int(os.read(self._told, _WIDTH)), None

    def poll(self):
        return self._ended(0)

    def wait(self, timeout=None):
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
        return self.returncode

    def _ended(self, timeout):
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._told, selectors.EVENT_READ)
                if selector.select(timeout):
                    self.returncode = int(os.read(self._told, _WIDTH))
                    os.close(self._told)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


@cache
def _loaded(modules) -> socket.socket:
    """The connection to a process that has loaded these modules. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno()), *modules]
    subprocess.run(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, check=True)
    theirs.close()
    return ours


def _serve(channel: socket.socket) -> tuple:
    """Fork for each request, and tell the fork's process id and exit code. Returns in the forks only."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not channel:  # a fork has ended
                    child, told = key.data
                    waiting.unregister(key.fileobj)
                    os.close(key.fileobj)
                    _tell(told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                    os.close(told)
                    continue
                request, descriptors, *_ = socket.recv_fds(channel, 1 << 20, 4)
                if not request:
                    sys.exit()
                child = os.fork()
                if child == 0:
                    arguments, environment, folder, new_session = json.loads(request)
                    if new_session:
                        os.setsid()
                    _tell(descriptors[3], os.getpid())  # now it can be killed with its group
                    for number in range(3):
                        os.dup2(descriptors[number], number)
                    for other in [*waiting.get_map().values()]:
                        if other.data:
                            os.close(other.fileobj)
                            os.close(other.data[1])
                    for descriptor in (*descriptors, channel.detach()):
                        os.close(descriptor)
                    return arguments, environment, folder
                waiting.register(os.pidfd_open(child), selectors.EVENT_READ, (child, descriptors[3]))
                for descriptor in descriptors[:3]:
                    os.close(descriptor)


def _tell(descriptor, number):
    with suppress(BrokenPipeError):  # who started it is gone
        os.write(descriptor, f"{number:{_WIDTH}}".encode())


def _become(arguments, environment, folder) -> None:
    """Do what Python would do with these arguments."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None  # it may have been asked for before
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.argv = arguments[1:]
    if arguments[0] == "-m":
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = "-c"
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()  # what is loaded is no garbage, and stays shared with the forks
    if os.fork():  # so that it is no child of the tests, some of which look at theirs
        os._exit(0)
    os.setsid()
    _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
