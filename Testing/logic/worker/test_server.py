"""The same protocol over a socket, with a real service process."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

from DeepSegLogic.util.errors import Cancelled, ResourceError, UsageError
from DeepSegLogic.worker import SocketLink, WorkerClient, WorkerState, server
from DeepSegLogic.worker.server import Server

from .conftest import HERE, is_end, run_until

TOKEN = "geheim-ß"
LIMIT = 64 << 20
SCRIPT = """
    import sys
    from faulty_handlers import HANDLERS
    from DeepSegLogic.worker.server import Server
    server = Server("127.0.0.1", 0, sys.argv[1], array_limit=int(sys.argv[2]), handlers=HANDLERS)
    print(server.address[1], flush=True)
    server.run()
"""


@pytest.fixture(scope="module")
def port():
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), TOKEN, str(LIMIT)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    yield int(process.stdout.readline())
    assert process.poll() is None, "the service died"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def connect(port):
    clients = []

    def make(token=TOKEN, **options):
        clients.append(WorkerClient(partial(SocketLink, "127.0.0.1", port, token), **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def raw(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def hello(connection):
    stream = connection.makefile("rwb")
    stream.write(json.dumps({"type": "hello", "version": 1, "token": TOKEN}).encode() + b"\n")
    stream.flush()
    assert json.loads(stream.readline())["type"] == "hello"
    return stream


def test_arrays_and_progress_over_the_socket(connect):
    client = connect()
    array = np.random.default_rng(0).standard_normal((50, 60, 70))
    told = []
    np.testing.assert_array_equal(client.call("echo", a=array)["a"], array)
    assert client.call("count", to=5, progress=lambda *p: told.append(p)) == 5
    assert told[0] == ("inference", 0.0, "window 0 of 5")


@pytest.mark.parametrize("token", ["", "falsch", TOKEN + " "])
def test_a_wrong_token_is_refused(connect, token):
    client = connect(token)
    with pytest.raises(UsageError, match="token is wrong") as caught:
        client.call("ping")
    assert caught.value.code == "usage.token" and client.state is WorkerState.DEAD


def test_nothing_is_done_before_the_token(raw):
    stream = raw.makefile("rwb")
    stream.write(json.dumps({"type": "request", "job": 1, "name": "ping", "params": {}}).encode() + b"\n")
    stream.flush()
    assert json.loads(stream.readline())["code"] == "usage.protocol"
    assert stream.readline() == b""


def test_another_version_of_the_protocol_is_refused_in_words(raw):
    stream = raw.makefile("rwb")
    stream.write(json.dumps({"type": "hello", "version": 99, "token": TOKEN}).encode() + b"\n")
    stream.flush()
    answer = json.loads(stream.readline())
    assert "version 99" in answer["message"] and "same version" in answer["remedy"]


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 5000,  # longer than a stranger may speak
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"type": "hello", "version": 1, "arrays": [["<f8", [10]]]}\n' + bytes(80),
        b"[" * 4000 + b"\n",
    ],
)
def test_strangers_are_hung_up_on(raw, connect, line):
    raw.sendall(line)
    raw.shutdown(socket.SHUT_WR)
    with raw.makefile("rb") as stream:
        stream.read()  # returns: the other side has hung up
    assert connect().call("ping")["pid"]


def test_a_stranger_who_dawdles_is_hung_up_on(monkeypatch):
    """However often a byte comes: else a few strangers could keep all connections."""
    monkeypatch.setattr(server, "STRANGER_PATIENCE", 0.3)
    service = Server("127.0.0.1", 0, TOKEN)
    ours, theirs = socket.socketpair()
    stopped = threading.Event()

    def dawdle():
        with theirs, suppress(OSError):
            while not stopped.wait(0.05):
                theirs.send(b" ")

    stranger = threading.Thread(target=dawdle)
    stranger.start()
    try:
        service._converse(ours)  # returns
    finally:
        stopped.set()
        stranger.join()
        service._socket.close()


@pytest.mark.parametrize(
    "message, payload",
    [
        (b"x" * (17 << 20), b""),
        (json.dumps({"type": "request", "job": 1, "name": "echo", "params": {}}).encode(), b"junk\n"),
        (b'{"type": "request", "arrays": [["|O", [1]]]}', b""),
        (b'{"type": "request", "arrays": [["<f8", [-1]]]}', b""),
        (b'{"type": "request", "arrays": [["<f8", [Infinity]]]}', b""),
        (b'{"type": "request", "arrays": [["f4,(", [1]]]}', b""),
        (b'{"type": "request", "arrays": [["<f8", [99999999999]]]}', b""),
        (b'{"type": "request", "arrays": [["<f8", [1]]], "block": "deepseg_x"}', b""),
        (b'{"type": "request", "job": 1, "name": "echo", "params": {"$": "Popen", "fields": {}}}', b""),
        (b'{"type": "request", "job": 1, "name": "echo", "params": {"$": "array", "index": 3}}', b""),
        (b'{"type": "request"}', b""),
    ],
)
def test_bad_messages_end_only_their_own_conversation(raw, connect, message, payload):
    stream = hello(raw)
    stream.write(message + b"\n" + payload)
    stream.flush()
    answers = [json.loads(line) for line in stream]
    assert answers[-1]["type"] == "error" and answers[-1]["job"] is None
    assert connect().call("ping")["pid"]


def test_too_large_a_volume_is_refused_in_words(connect):
    client = connect()
    client.call("ping")
    job = client.submit("echo", a=np.zeros(LIMIT + 1, np.uint8))
    end = run_until(client, is_end)[-1]
    assert end.job == job and end.error.code == "internal.protocol.size" and "smaller" in end.error.remedy
    assert client.call("echo", a=np.ones(9))["a"].sum() == 9  # a new connection


def test_two_clients_take_turns_and_hear_only_of_their_own(connect):
    one, two = connect(), connect()
    first, second = one.submit("count", to=30), two.submit("echo", a=np.full(1000, 2))
    events_two = run_until(two, is_end)
    events_one = run_until(one, is_end)
    assert events_one[-1].job == first and events_one[-1].value == 30
    np.testing.assert_array_equal(events_two[-1].value["a"], np.full(1000, 2))
    assert events_two[-1].job == second and not any(e.kind == "progress" for e in events_two)


def test_cancel_by_one_client_spares_the_other(connect):
    one, two = connect(), connect()
    one.submit("count", to=10_000)
    run_until(one, lambda e: e.kind == "progress")
    two.submit("count", to=5)
    two.cancel(99)
    one.cancel()
    assert isinstance(run_until(one, is_end)[-1].error, Cancelled)
    assert run_until(two, is_end)[-1].value == 5


def test_a_client_that_leaves_stops_its_work(connect):
    one, two = connect(), connect()
    one.submit("count", to=10**9)
    run_until(one, lambda e: e.kind == "progress")
    one.close()
    assert two.call("ping")["pid"]  # its turn comes


def test_a_service_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with WorkerClient(partial(SocketLink, "127.0.0.1", port, TOKEN)) as client:
        with pytest.raises(ResourceError, match="cannot be reached") as caught:
            client.call("ping")
        assert caught.value.action == "start_service"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_are_kept_out_unless_asked_for(host):
    with pytest.raises(UsageError, match="not encrypted") as caught:
        Server(host, 0, TOKEN)
    assert caught.value.action == "accept_remote"


def test_a_service_without_token_is_refused():
    with pytest.raises(UsageError, match="token"):
        Server("127.0.0.1", 0, "")


def test_the_command_serves_and_stops_on_ctrl_c():
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # not in the background
    process = subprocess.Popen(
        [sys.executable, "-c", f"{heard}; from DeepSegLogic.cli import run; run()", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    token = process.stdout.readline().split()[1]
    with WorkerClient(partial(SocketLink, "127.0.0.1", port, token)) as client:
        assert client.call("ping")["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()


STRANGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\xfe\x00\n",
    b"[1, 2]\n",
    json.dumps({"type": "hello", "version": 1, "token": "\ud800"}).encode() + b"\n",
    json.dumps({"type": ["hello"], "token": {"a": 1}}).encode() + b"\n",
    json.dumps({"type": "received", "block": ["x"]}).encode() + b"\n",
    json.dumps({"type": "hello", "arrays": [["<f4", [0] * 80]]}).encode() + b"\n",
    json.dumps({"type": "hello", "arrays": [["<f4", [0, 2**62, 2**62]]]}).encode() + b"\n",
    json.dumps({"type": "hello", "arrays": [[{"names": 5}, 3]]}).encode() + b"\n",
    json.dumps({"type": "hello", "x": {"$": "Volume", "fields": {}}}).encode() + b"\n",
    json.dumps({"type": "hello", "x": {"$": ["Volume"]}}).encode() + b"\n",
    b'{"type": "hello", "x": ' + b"[" * 1500 + b"]" * 1500 + b"}\n",
    b'{"type": "hello", "version": 1, "token": ' + b"9" * 4000 + b"}\n",
]


def test_strangers_leave_no_traceback_in_the_log(tmp_path):
    """Whatever they say; nor do they learn where our code lies."""
    script = [sys.executable, "-c", textwrap.dedent(SCRIPT), TOKEN, str(LIMIT)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            script, env={**os.environ, "PYTHONPATH": str(HERE)}, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
        )
    port, heard = int(process.stdout.readline()), b""
    for said in STRANGE:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while more := connection.recv(1 << 16):
                    heard += more
    with WorkerClient(partial(SocketLink, "127.0.0.1", port, TOKEN)) as client:
        assert client.call("echo", x=1) == {"x": 1}
    process.kill()
    process.communicate()
    assert (tmp_path / "log").read_text("utf-8") == ""
    assert b"Traceback" not in heard
