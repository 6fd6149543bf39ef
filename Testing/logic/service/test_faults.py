"""What goes wrong between a client and a server, each tried for real; the table in docs/server.md names these tests."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from running_server import ct

from DeepSegLogic import Cancelled, DeepSegError, LabelMap, ResourceError, Result, TopProbabilities
from DeepSegLogic.remote import following, uploads
from DeepSegLogic.remote.connection import Connection, presented_fingerprint
from DeepSegLogic.remote.following import follow
from DeepSegLogic.remote.protocol import GridHeader
from DeepSegLogic.remote.results import checked_result
from DeepSegLogic.remote.server import Server
from DeepSegLogic.remote.worker import RemoteWorker
from DeepSegLogic.service import certificate
from DeepSegLogic.service.certificate import own_certificate
from DeepSegLogic.util.address import Address
from DeepSegLogic.util.errors import UsageError

from .proxy import Proxy

longer = pytest.mark.skipif(not os.environ.get("DEEPSEG_FAULTS"), reason="make faults tries it")


def bone(volume):
    return (volume.array > 300).astype(np.uint8)


def uploaded(server):
    text = requests.get(f"{server.url}/v1/metrics", headers=server.headers()).text
    return float(next(line for line in text.splitlines() if line.startswith("deepseg_uploaded_bytes_total")).split()[1])


def in_thread(call):
    """A running call; its result or error comes from ``result()``."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def test_the_second_run_of_a_volume_uploads_nothing(server):
    volume, client, before = ct(100), server.client(), uploaded(server)
    result = client.segment(volume, "plain")
    np.testing.assert_array_equal(result.label_map.array, bone(volume))
    np.testing.assert_array_equal(result.label_map.ijk_to_ras, volume.ijk_to_ras)
    assert result.warnings == ["patient Müller was seen by cpu."]  # its name never left
    assert uploaded(server) - before == volume.array.nbytes
    client.segment(volume, "plain", min_piece_ml=1.0)
    assert uploaded(server) - before == volume.array.nbytes
    files = [p for p in (server.folder / "server" / "users").rglob("*") if p.is_file()]
    assert not [p for p in files if "ller" in p.name or "Müller".encode() in p.read_bytes()]


def test_killed_in_mid_upload_it_goes_on_where_it_was(make_server, monkeypatch):
    server = make_server()
    monkeypatch.setattr(uploads, "PIECE", 4096)
    volume, killed = ct(1), []

    def progress(stage, fraction, _message):
        if stage == "upload" and fraction > 0.4 and not killed:
            killed.append(fraction)
            server.kill()
            threading.Timer(0.5, server.start).start()

    result = server.client().segment(volume, "plain", progress=progress)
    np.testing.assert_array_equal(result.label_map.array, bone(volume))
    assert killed and uploaded(server) < 0.7 * volume.array.nbytes  # what was there was not sent again


def test_killed_in_mid_run_it_runs_the_job_again(make_server):
    server = make_server()
    call = in_thread(lambda: server.client().segment(ct(1), "gated"))
    server.until(lambda: server.starts)
    server.kill()  # which also checks that the worker ends
    server.start()
    server.until(lambda: len(server.starts) == 2)
    server.open_gate()
    np.testing.assert_array_equal(call.result(30).label_map.array, bone(ct(1)))
    assert len(server.starts) == 2


@longer
def test_a_job_that_ended_the_server_thrice_is_given_up(make_server):
    server = make_server()
    call = in_thread(lambda: server.client().segment(ct(1), "gated"))
    for start in (1, 2, 3):
        server.until(lambda: len(server.starts) == start)  # noqa: B023
        server.kill()
        server.start()
    with pytest.raises(DeepSegError, match="ended each time"):
        call.result(30)
    assert len(server.starts) == 3


def test_killed_in_mid_download_nothing_runs_twice(make_server):
    server = make_server()
    with Proxy(server.url) as proxy:
        client, cut = Server(proxy.url, server.tokens["anna"]), []

        def once_it_sends_the_result(request):
            if b"/result " in request and not cut:
                cut.append(True)
                server.kill()
                server.start()

        proxy.on_request = once_it_sends_the_result
        result = client.segment(ct(1), "plain")
    np.testing.assert_array_equal(result.label_map.array, bone(ct(1)))
    assert cut and len(server.starts) == 1


CLIENT = """
    import sys
    sys.path[:0] = [sys.argv[3]]
    from running_server import ct
    from DeepSegLogic.remote.server import Server
    Server(sys.argv[1], sys.argv[2]).segment(ct(1), "gated")
"""


def test_a_client_that_is_killed_finds_its_job_again(server, request):
    before = len(server.starts)
    script = [sys.executable, "-c", textwrap.dedent(CLIENT), server.url, server.tokens["anna"]]
    process = subprocess.Popen([*script, str(request.config.rootpath / "Testing")])
    server.until(lambda: len(server.starts) > before)
    process.kill()
    process.wait()
    server.open_gate()
    np.testing.assert_array_equal(server.client().segment(ct(1), "gated").label_map.array, bone(ct(1)))
    assert len(server.starts) == before + 1


def test_cancel_stops_the_job_on_the_server(make_server):
    server = make_server()
    stop = threading.Event()
    call = in_thread(lambda: server.client().segment(ct(1), "gated", cancel=stop.is_set))
    server.until(lambda: server.starts)
    stop.set()
    with pytest.raises(Cancelled):
        call.result(20)
    jobs = lambda: requests.get(f"{server.url}/v1/jobs", headers=server.headers()).json()  # noqa: E731
    assert server.until(lambda: all(job["state"] == "cancelled" for job in jobs()))
    server.open_gate()  # the same call later is a new one
    np.testing.assert_array_equal(server.client().segment(ct(1), "gated").label_map.array, bone(ct(1)))


def test_two_clients_with_one_volume_send_it_once(make_server, monkeypatch):
    server = make_server()
    monkeypatch.setattr(uploads, "PIECE", 2048)
    volume = ct(1)
    calls = [in_thread(lambda n=n: server.client().segment(volume, "plain", min_piece_ml=n)) for n in (1.0, 2.0)]
    for call in calls:
        np.testing.assert_array_equal(call.result(60).label_map.array, bone(volume))
    assert uploaded(server) == volume.array.nbytes


def test_two_users_with_one_volume_know_nothing_of_each_other(server):
    volume = ct(101)
    server.client("anna").segment(volume, "plain")
    before = uploaded(server)
    server.client("ben").segment(volume, "plain")
    assert uploaded(server) - before == volume.array.nbytes


def test_twenty_clients_take_fair_turns_and_know_their_place(make_server):
    server = make_server()
    volume, places = ct(1), []

    def segment(user, number):
        told = lambda stage, _f, message: places.append(message) if stage == "wait" else None  # noqa: E731
        return server.client(user).segment(volume, "gated", min_piece_ml=number, progress=told)

    first = in_thread(lambda: segment("anna", 0.0))
    server.until(lambda: server.starts)
    calls = [first]
    for user, count in (("anna", 14), ("ben", 5)):  # ben comes last
        calls += [in_thread(lambda u=user, n=n: segment(u, float(n))) for n in range(1, count + 1)]

    def queued(user):
        jobs = requests.get(f"{server.url}/v1/jobs", headers=server.headers(user)).json()
        return sum(job["state"] == "queued" for job in jobs)

    server.until(lambda: queued("anna") == 14 and queued("ben") == 5)
    server.open_gate()
    for call in calls:
        assert call.result(60).label_map.array.any()
    users = [line.split()[0] for line in server.starts]
    assert len(users) == 20 and users[:11] == ["anna", *["ben", "anna"] * 5], users
    assert "next in line" in places and any(p.startswith("1") and "before yours" in p for p in places)


def test_more_jobs_than_a_user_may_have(make_server):
    server = make_server(open_jobs=2)
    client = server.client(patience_s=0.5)
    waiting = [in_thread(lambda n=n: client.segment(ct(1), "gated", min_piece_ml=n)) for n in (1.0, 2.0)]
    server.until(lambda: server.starts)
    jobs = lambda: requests.get(f"{server.url}/v1/jobs", headers=server.headers()).json()  # noqa: E731
    server.until(lambda: len(jobs()) == 2)
    with pytest.raises(DeepSegError, match="2 jobs waiting or running"):
        client.segment(ct(1), "gated", min_piece_ml=3.0)
    server.open_gate()
    assert all(call.result(30) for call in waiting)


@pytest.mark.parametrize(
    "model, code", [("killed", "resource.killed"), ("memory", "resource.memory"), ("gpu", "resource.gpu_memory")]
)
def test_a_worker_out_of_memory_fails_one_job(server, model, code):
    with pytest.raises(ResourceError, match="out of memory") as caught:
        server.client().segment(ct(102), model)
    assert caught.value.code == code and caught.value.remedy
    assert server.client().segment(ct(102), "plain").label_map.array.any()


def test_a_token_that_is_wrong_is_told_without_waiting(server):
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        Server(server.url, "wrong").segment(ct(), "plain")
    assert caught.value.action == "give_token" and time.monotonic() - began < 10


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_that_changed_gets_nothing(make_server, tmp_path):
    pairs = [[str(p) for p in own_certificate(tmp_path / name)] for name in ("one", "two")]
    server = make_server(tls=pairs[0])
    assert server.url.startswith("https://")
    client = server.client()
    client.segment(ct(1), "plain")
    with pytest.raises(UsageError, match="No authority") as caught:
        Server(server.url, server.tokens["anna"]).models()
    assert caught.value.action == "save_server"
    server.stop()
    server.start(tls=pairs[1])
    for again in (client, Server(server.url, server.tokens["anna"], client.connection._fingerprint)):
        with pytest.raises(UsageError, match="another certificate"):
            again.segment(ct(1), "plain")
    figures = requests.get(f"{server.url}/v1/metrics", headers=server.headers(), verify=False).text
    assert not [line for line in figures.splitlines() if line.startswith("deepseg_requests_total")]  # this is the first
    assert server.client().segment(ct(1), "plain").label_map.array.any()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to look at a certificate")
def test_an_expired_certificate_or_a_wrong_clock_is_no_matter_if_pinned(make_server, tmp_path, monkeypatch):
    monkeypatch.setattr(certificate, "_DAYS", 0)
    pair = own_certificate(tmp_path)
    assert subprocess.run(["openssl", "x509", "-checkend", "1", "-in", pair[0]], capture_output=True).returncode == 1
    server = make_server(tls=[str(p) for p in pair])
    time.sleep(1)
    assert server.client().segment(ct(1), "plain").label_map.array.any()


def test_plain_http_is_for_this_machine():
    for url in ("http://192.0.2.1:80", "http://example.org", "ftp://localhost", "https://a:b@host", "https://host/x"):
        with pytest.raises(UsageError):
            Server(url, "token")


def test_a_slow_link_gets_through(server):
    """1 Mbit/s; what is worth packing is packed."""
    volume = ct(103)
    volume.array[:] = volume.array // 200 * 200  # packs well
    began = time.monotonic()
    with Proxy(server.url, bytes_per_s=125_000) as proxy:
        result = Server(proxy.url, server.tokens["anna"]).segment(volume, "plain")
    np.testing.assert_array_equal(result.label_map.array, bone(volume))
    assert time.monotonic() - began < 30


def test_an_upload_within_a_tick_of_the_clock(server, monkeypatch):
    """That of Windows ticks 64 times a second."""
    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: 5.0))
    volume = ct(104)
    np.testing.assert_array_equal(server.client().segment(volume, "plain").label_map.array, bone(volume))


@pytest.mark.parametrize("after", [pytest.param(100, marks=longer), 3000, 20_000, pytest.param(24_000, marks=longer)])
def test_a_link_that_drops_is_made_again(make_server, monkeypatch, after):
    server = make_server()
    monkeypatch.setattr(uploads, "PIECE", 8192)
    with Proxy(server.url, cut_after=after) as proxy:
        result = Server(proxy.url, server.tokens["anna"]).segment(ct(1), "plain")
    np.testing.assert_array_equal(result.label_map.array, bone(ct(1)))
    assert proxy.cuts == 1 and len(server.starts) == 1


def test_a_server_that_is_not_there(make_server):
    server = make_server()
    server.stop()
    with pytest.raises(ResourceError, match="cannot be reached") as caught:
        server.client(patience_s=0.3).models()
    assert caught.value.action == "start_service"
    server.start()


def test_an_answer_that_is_no_result_is_refused(server):
    with pytest.raises(DeepSegError, match="something else than the result"):
        server.client().segment(ct(104), "odd")


def test_something_else_at_the_address():
    import http.server

    class Other(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"service": "deepseg", "protocol": 2}' if self.server.newer else b"<html>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        for newer, words in ((False, "not understand"), (True, "version 2 of the protocol")):
            other.newer = newer
            with pytest.raises(DeepSegError, match=words):
                Server(f"http://127.0.0.1:{other.server_port}", "token").models()
        other.shutdown()


@pytest.mark.parametrize("event", [b"data: {", b"data: " + b"[" * 100_000, b"data: \xff", b"data: 7"])
def test_events_that_are_none(event):
    """A hostile server, or a broken proxy: they end in a sentence."""
    import http.server

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            if self.path.endswith("/events"):
                self.wfile.write(event + b"\n\n")

        def do_PUT(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"state": "running", "place": 0, "fraction": 0.5}')

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        connection = Connection(f"http://127.0.0.1:{other.server_port}", "token", patience_s=0.5)
        with pytest.raises(DeepSegError, match="not understand"):
            follow(connection, "a" * 32, {}, lambda *_: None, lambda: False)
        other.shutdown()


def test_a_state_need_not_say_what_the_job_does():
    told = []
    following._show(
        {"state": "running", "fraction": 0.5, "place": 0, "stage": "inference"}, lambda *now: told.append(now)
    )
    following._show({"state": "running", "fraction": 0.5, "place": 0}, lambda *now: told.append(now))
    assert told == [("inference", 0.5, "")]


def test_a_name_that_no_machine_can_have_is_not_reached():
    with pytest.raises(ResourceError, match="cannot be reached"):
        presented_fingerprint(Address.of(f"https://{'a' * 64}.example"))


def test_a_worker_that_was_closed_can_be_asked_again():
    class Stub:
        def models(self, **_options):
            return ["ct_demo"]

    worker = RemoteWorker(Stub())
    for _ in range(2):
        worker.close()
        job, end, answers = worker.submit("models"), time.monotonic() + 5, []
        while worker.is_open(job) and time.monotonic() < end:
            answers += [event.value for event in worker.poll() if event.kind == "result"]
            time.sleep(0.01)
        assert answers == [["ct_demo"]]
    worker.close()


def probabilities(**other):
    labels = np.ones((2, 3, 4, 5), np.uint8)
    return TopProbabilities(**{"labels": labels, "values": labels, "ijk_to_ras": np.eye(4)} | other)


@pytest.mark.parametrize(
    "other",
    [
        {"phase": "lunar"},
        {"phase": ["plain"]},
        {"enhanced": 1},
        {"probabilities": "most probable"},
        {"probabilities": probabilities(labels=np.ones((3, 4, 5), np.uint8))},
        {"probabilities": probabilities(labels=np.ones((2, 3, 4, 5), np.float32))},
        {"probabilities": probabilities(labels=np.ones((0, 3, 4, 5), np.uint8))},
        {"probabilities": probabilities(values=np.ones((2, 3, 4, 4), np.uint8))},
        {"probabilities": probabilities(ijk_to_ras=np.full((4, 4), np.nan))},
        {"probabilities": probabilities(ijk_to_ras=None)},
        {"probabilities": probabilities(volume_digest=7)},
    ],
)
def test_all_of_a_result_is_checked(other):
    """What corrections and faces would stumble over later."""
    volume = ct(2)
    fine = Result(LabelMap(bone(volume), volume.ijk_to_ras), {}, phase="venous", probabilities=probabilities())
    assert checked_result(fine, volume.array.shape, volume.ijk_to_ras) is fine
    with pytest.raises(DeepSegError, match="something else than the result"):
        checked_result(replace(fine, **other), volume.array.shape, volume.ijk_to_ras)


def test_grid_ids_tell_everything_apart():
    """Type, shape, place and voxels; equal ones are equal."""
    volume = ct(1)
    variants = [
        (volume.array, volume.ijk_to_ras),
        (volume.array.reshape(12, 30, 40), volume.ijk_to_ras),
        (volume.array.view(np.uint16), volume.ijk_to_ras),
        (volume.array, volume.ijk_to_ras + np.eye(4) * 1e-12),
        (volume.array + np.int16(1), volume.ijk_to_ras),
    ]
    ids = [GridHeader.of(*v).id for v in variants]
    assert len(set(ids)) == len(ids) and GridHeader.of(volume.array.copy("F"), volume.ijk_to_ras).id == ids[0]
