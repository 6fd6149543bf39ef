"""Requests that only tests make: the worker process serves this module instead of the real handlers."""

import ctypes
import faulthandler
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

import DeepSegLogic
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.util.errors import Cancelled, InputError
from DeepSegLogic.worker import handlers
from DeepSegLogic.worker import shared_memory as shared


def echo(job, **params):
    return params


def sum(job, *, array):
    return array.sum()


def threshold(job, *, volume):
    """A stand-in for a network: 1 where there is bone."""
    return LabelMap((volume.array > 300).astype(np.uint8), volume.ijk_to_ras)


def load_once(job):
    """How often something was loaded in this process."""
    if "thing" not in job.warm:
        job.progress("load model", 1.0)
        job.warm["thing"] = 0
    job.warm["thing"] += 1
    return {"pid": os.getpid(), "used": job.warm["thing"]}


def count(job, *, to, pause=0.01):
    """Work that minds ``cancel``."""
    for i in range(to):
        if job.cancel():
            raise Cancelled()
        job.progress("inference", i / to, f"window {i} of {to}")
        time.sleep(pause)
    return to


def deaf(job):
    """Work that minds nothing, with a child of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    job.progress("inference", 0.0, str(child.pid))
    time.sleep(600)


def hold_the_lock(job):
    """A C function that keeps the interpreter lock: no other thread of this process runs."""
    job.progress("inference", 0.0)
    while job.channel._outbox.qsize():  # it is told by another thread
        time.sleep(0.01)
    time.sleep(0.2)
    if os.name == "nt":
        ctypes.PyDLL("kernel32").Sleep(600_000)
    else:
        ctypes.PyDLL(None).sleep(600)


def fail(job, *, how):
    if how == "input":
        raise InputError("The volume is empty.", "Choose another one.", code="input.empty")
    if how == "memory":
        raise MemoryError
    if how == "bug":
        raise ZeroDivisionError("division by zero")
    if how == "import":
        import no_such_package  # noqa: F401
    if how == "device":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def die(job, *, how, gate):
    """Once the file ``gate`` is there."""
    while not Path(gate).exists():
        time.sleep(0.01)
    if how == "segfault":
        faulthandler._read_null()  # on Windows, a signal would only be an exit code
    elif how == "kill":
        psutil.Process().kill()
    elif how == "abort":
        os.abort()
    elif how == "exit":
        os._exit(3)


def die_while_sending(job):
    """As if killed between making the block for a result and naming it."""
    shared.create(f"{job.channel._mine}{job.channel._sent}", 1 << 20)
    psutil.Process().kill()


def chatter(job):
    """Libraries that write to stdout, in Python, through the descriptor, in C, and in a child process."""
    print('{"type": "result", "job": 1, "value": "forged"}')
    os.write(1, b"bytes \xff\xfe\n")
    c = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
    c.puts(b"from C")
    c.fflush(None)
    subprocess.run([sys.executable, "-c", "print('from a child'); print(input('?'))"], check=False)
    print("x" * 100_000, file=sys.stderr)
    return "said enough"


def where(job, *, folder):
    """What the worker sees of a path, and where it runs."""
    names = sorted(p.name for p in Path(folder).iterdir())
    return {"names": names, "package": DeepSegLogic.__file__, "python": sys.executable}


HANDLERS = {
    **handlers.HANDLERS,
    **{f.__name__: f for f in (echo, sum, threshold, load_once, count, deaf, hold_the_lock, fail, die)},
    **{f.__name__: f for f in (die_while_sending, chatter, where)},
}
