"""Cancelling, crashes, hangs and a vanished parent, with real processes."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import psutil
import pytest

from DeepSegLogic.util.errors import Cancelled, DeepSegError, InputError, ResourceError
from DeepSegLogic.worker import ProcessLink, WorkerClient, WorkerState
from DeepSegLogic.worker import shared_memory as shared
from DeepSegLogic.worker.error_mapping import explain, why_it_died

from .conftest import HERE, gone, is_end, leftovers, run_until

windows = os.name == "nt"
KILLED = "internal.crash" if windows else "resource.killed"  # Windows does not kill a process for its memory


def is_progress(event):
    return event.kind == "progress"


def alive_again(client):
    return client.call("ping")["pid"] == client.hello["pid"]


def test_cancel_in_mid_run_keeps_the_worker(client):
    job = client.submit("count", to=10_000)
    run_until(client, is_progress)
    pid = client.hello["pid"]
    client.cancel()
    assert client.state is WorkerState.CANCELLING
    end = run_until(client, is_end)[-1]
    assert end.job == job and isinstance(end.error, Cancelled) and end.error.code == "cancelled"
    assert client.call("ping")["pid"] == pid


def test_cancel_one_of_two(client):
    first, second = client.submit("count", to=20), client.submit("count", to=10_000)
    client.cancel(second)
    events = run_until(client, lambda e: is_end(e) and e.job == second)
    assert [(e.job, e.kind) for e in events if is_end(e)] == [(first, "result"), (second, "error")]
    assert "started" not in [e.kind for e in events if e.job == second]


def test_cancelling_a_job_that_waits_leaves_the_one_that_runs(new_client):
    """However long that one takes: it is not the job that does not stop."""
    client = new_client(grace=0.2)
    first, second = client.submit("count", to=100), client.submit("count", to=10_000)
    run_until(client, is_progress)
    client.cancel(second)
    worker = client.hello["pid"]
    events = run_until(client, lambda e: is_end(e) and e.job == second)
    assert [(e.job, e.kind) for e in events if is_end(e)] == [(first, "result"), (second, "error")]
    assert isinstance(events[-1].error, Cancelled) and client.call("ping")["pid"] == worker


def test_cancel_while_starting(client):
    client.submit("count", to=10_000)
    client.cancel()
    assert isinstance(run_until(client, is_end)[-1].error, Cancelled)


def test_work_that_ignores_cancel_is_killed_with_its_children(new_client):
    client = new_client(grace=0.3)
    client.submit("deaf")
    grandchild = int(run_until(client, is_progress)[-1].message)
    worker = client.hello["pid"]
    client.cancel()
    assert isinstance(run_until(client, is_end)[-1].error, Cancelled)
    assert client.state is WorkerState.STOPPED and client.reason is None
    assert gone(worker) and gone(grandchild)
    assert alive_again(client) and client.hello["pid"] != worker


@pytest.mark.parametrize(
    "how, error, code, words",
    [
        ("kill", DeepSegError if windows else ResourceError, KILLED, "ended" if windows else "memory"),
        ("segfault", DeepSegError, "internal.crash", "0xc0000005" if windows else "SIGSEGV"),
        ("abort", DeepSegError, "internal.crash", "exit code 3" if windows else "SIGABRT"),
        ("exit", DeepSegError, "internal.crash", "exit code 3"),
    ],
)
def test_death_is_explained_and_the_next_submit_starts_anew(client, tmp_path, how, error, code, words):
    client.call("ping")
    gate = tmp_path / "gate"
    jobs = [client.submit("die", how=how, gate=gate), client.submit("echo", a=np.ones(1 << 20))]
    gate.touch()
    events = run_until(client, lambda e: is_end(e) and e.job == jobs[1])
    for end in filter(is_end, events):
        assert type(end.error) is error and end.error.code == code
        assert words in end.error.message and end.error.remedy
    assert client.state is WorkerState.DEAD and client.reason is not None
    if how == "segfault":
        assert any("faulty_handlers" in line and "in die" in line for line in client.log)  # where it was
    assert alive_again(client)


def test_killed_from_outside_while_idle(client):
    client.call("ping")
    psutil.Process(client.hello["pid"]).kill()
    run_until(client, lambda e: e.kind == "state" and e.message == "dead")
    assert client.reason.code == KILLED
    assert alive_again(client)


def test_a_worker_that_dies_takes_its_children_with_it(client):
    client.submit("deaf")
    grandchild = int(run_until(client, is_progress)[-1].message)
    psutil.Process(client.hello["pid"]).kill()
    assert run_until(client, is_end)[-1].error.code == KILLED
    assert gone(grandchild)


def test_killed_unnoticed_before_a_submit(client):
    client.call("ping")
    psutil.Process(client.hello["pid"]).kill()
    client._connection.thread.join()
    assert alive_again(client)


@pytest.mark.parametrize(
    "how, error, code",
    [
        ("input", InputError, "input.empty"),
        ("memory", ResourceError, "resource.memory"),
        ("bug", DeepSegError, "internal"),
        ("import", ResourceError, "resource.package"),
    ],
)
def test_exceptions_become_errors_and_the_worker_lives(client, how, error, code):
    job = client.submit("fail", how=how)
    end = run_until(client, is_end)[-1]
    assert end.job == job and type(end.error) is error and end.error.code == code
    assert end.error.message and end.error.remedy
    assert "faulty_handlers.py" in end.traceback
    assert client.call("ping")["pid"] == client.hello["pid"]
    client.close()  # the log is complete
    assert "Traceback" in "\n".join(client.log)


def test_a_lost_gpu_ends_the_process_after_saying_so(client):
    with pytest.raises(ResourceError, match="GPU") as caught:
        client.call("fail", how="device")
    assert caught.value.code == "resource.device_lost"
    worker = client.hello["pid"]
    assert gone(worker)
    run_until(client, lambda e: e.kind == "state" and e.message == "dead")
    assert alive_again(client)


def test_memory_error_lets_go_of_what_was_warm(client):
    client.call("load_once")
    with pytest.raises(ResourceError):
        client.call("fail", how="memory")
    assert client.call("load_once")["used"] == 1


@pytest.mark.parametrize("request_", ["deaf", "hold_the_lock"])
def test_hung_work_is_noticed_and_can_be_killed(new_client, request_):
    client = new_client(patience=1.0)
    client.call("ping")  # starting may take longer
    client.submit(request_)
    events = run_until(client, lambda e: e.kind == "unresponsive")
    assert not client.responding and client.state is WorkerState.BUSY
    assert [e.kind for e in events].count("unresponsive") == 1
    client.kill()
    end = run_until(client, is_end)[-1]
    assert end.error.code == "resource.stopped" and client.responding
    assert alive_again(client)


def test_work_that_reports_is_not_taken_for_hung(new_client):
    client = new_client(patience=2.0)
    client.call("ping")
    client.submit("count", to=300)
    assert "unresponsive" not in [e.kind for e in run_until(client, is_end)]


def test_submit_does_not_wait_for_a_stopped_process(client, monkeypatch):
    def create(name, size):
        raise OSError(28, "No space left on device")

    client.call("ping")
    psutil.Process(client.hello["pid"]).suspend()
    job = client.submit("echo", a=np.ones(1 << 20))  # lies in shared memory, unread
    monkeypatch.setattr(shared, "create", create)
    client.submit("echo", a=np.ones(1 << 24))  # fills the pipe
    assert client.poll()[-1].message == "busy"
    client.kill()
    assert run_until(client, is_end)[-1].job == job


def test_shared_memory_of_a_worker_that_dies_in_mid_result(client):
    client.submit("die_while_sending")
    assert run_until(client, is_end)[-1].error.code == KILLED


def test_close_in_mid_run(client):
    client.submit("deaf")
    grandchild = int(run_until(client, is_progress)[-1].message)
    worker = client.hello["pid"]
    client.close()
    assert client.state is WorkerState.STOPPED and gone(worker) and gone(grandchild)


def test_close_at_once_after_start(client):
    client.start()
    client.close()
    assert client.state is WorkerState.STOPPED


PARENT = """
    import sys, time
    from functools import partial
    import numpy as np
    from DeepSegLogic.worker import WorkerClient, ProcessLink
    client = WorkerClient(partial(ProcessLink, handlers=sys.argv[2]))
    client.submit(sys.argv[1])
    told = []
    while not told:
        told = [e.message for e in client.poll() if e.kind == "progress"]
        time.sleep(0.01)
    client.submit("echo", a=np.ones(1 << 20))
    time.sleep(0.3)
    print(client.hello["pid"], client._connection.link.share, *told, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("request_, handlers", [("deaf", "faulty_handlers"), ("hold_the_lock", "impatient_handlers")])
def test_the_child_ends_itself_when_its_parent_is_gone(request_, handlers):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), request_, handlers],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        worker, share, *grandchild = parent.stdout.readline().split()
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert gone(int(worker))
    assert all(gone(int(pid)) for pid in grandchild)
    if request_ == "deaf":
        assert leftovers(share) == []
    for name in leftovers(share):  # two deaths at once: nobody was left to free the request in between
        shared.remove(name)


def test_an_interpreter_that_is_not_there(new_client):
    assert_refused(new_client(python="/no/such/python"), "cannot be started")


def test_an_interpreter_that_fails_at_once(new_client, tmp_path):
    python = tmp_path / ("python.bat" if windows else "python")
    python.write_bytes(b"@exit 1\r\n" if windows else b"#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert_refused(new_client(python=str(python)), r"could not start \(exit code 1")


def assert_refused(client, words):
    with pytest.raises(ResourceError, match=words) as caught:
        client.call("ping")
    assert caught.value.code == "resource.worker" and caught.value.remedy
    assert client.state is WorkerState.DEAD


def test_a_link_that_breaks_in_an_unforeseen_way_is_told():
    class Broken(ProcessLink):
        def open(self, channel):
            raise ValueError("embedded null byte")

    with WorkerClient(Broken) as client, pytest.raises(DeepSegError, match="embedded null byte"):
        client.call("ping")


def test_handlers_that_cannot_be_imported_are_named(new_client):
    client = new_client(handlers="no_such_module")
    with pytest.raises(ResourceError, match="No module named 'no_such_module'"):
        client.call("ping")


def test_a_signal_without_a_name_is_still_a_crash():
    """Real-time signals, which batch systems send."""
    assert "crashed (signal 50)" in why_it_died(-50, "", True).message
    assert "crashed (SIGSEGV)" in why_it_died(-signal.SIGSEGV, "", True).message


@pytest.mark.parametrize(("number", "of_windows"), [(errno.ENOMEM, None), (errno.EINVAL, 1455)])
def test_a_system_without_memory_is_told_as_such(number, of_windows):
    """As when a file is mapped, or on Windows when the libraries of CUDA are loaded."""
    error = OSError(number, "The paging file is too small for this operation to complete")
    error.winerror = of_windows
    assert explain(error).code == "resource.memory"
    assert explain(OSError(errno.EINVAL, "Invalid argument")).code == "internal"
