"""The service as a stranger, a user with curl, and a careless program meet it."""

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import time
import zlib
from pathlib import Path
from uuid import uuid4

import jsonschema
import numpy as np
import pytest
import requests
from running_server import ct

from DeepSegLogic import InputError, LabelMap, Structure, Volume
from DeepSegLogic.remote.protocol import GridHeader
from DeepSegLogic.service.settings import Settings
from DeepSegLogic.service.volumes import VolumeStore
from DeepSegLogic.util.errors import Cancelled, DeepSegError, UsageError

JOB = "0123456789abcdef" * 2
ENDPOINTS = ["/v1/models", "/v1/jobs", f"/v1/jobs/{JOB}", f"/v1/jobs/{JOB}/result", "/v1/metrics", "/nowhere"]


def announced(server, volume, user="anna"):
    header = GridHeader.of(volume.array, volume.ijk_to_ras)
    answer = requests.post(f"{server.url}/v1/volumes", json=header.as_json(), headers=server.headers(user))
    assert answer.status_code == 200, answer.text
    return f"{server.url}/v1/volumes/{answer.json()['id']}"


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("shown", [None, "Bearer wrong", "Basic YTpi", "Bearer ", "Bearer \xff"])
def test_nothing_without_a_valid_token(make_server, server, path, shown):
    headers = {"Authorization": shown.encode("latin-1")} if shown else {}
    answer = requests.get(server.url + path, headers=headers)
    assert answer.status_code in (401, 429)  # many in a row are slowed down
    told = answer.json()
    assert told["code"] in ("usage.token", "usage.rate") and "Traceback" not in answer.text


def test_a_revoked_token_is_worthless_at_once(server):
    token = server.users.add("carl")
    address = f"{server.url}/v1/jobs"
    assert requests.get(address, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    server.users.revoke("carl")
    assert requests.get(address, headers={"Authorization": f"Bearer {token}"}).status_code in (401, 429)
    kept = (server.folder / "server" / "tokens.json").read_text()
    assert token not in kept and server.tokens["anna"] not in kept
    mode = (server.folder / "server" / "tokens.json").stat().st_mode
    assert os.name == "nt" or mode & 0o077 == 0  # Windows has no modes


def test_the_page_and_the_schema_need_no_token_and_nothing_from_elsewhere(server):
    page, schema = requests.get(f"{server.url}/"), requests.get(f"{server.url}/v1/openapi.json").json()
    assert page.status_code == 200 and "<script" not in page.text and not re.search(r"(src|href)=.https?:", page.text)
    for path in schema["paths"]:
        assert path in page.text
    for model in schema["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(model)
    assert schema["info"]["version"] == "1"


@pytest.mark.parametrize("user", ["anna", None])
def test_answers_have_the_form_that_the_schema_gives_them(server, user):
    """At each address, for a malformed request, a finished job, and without a token."""
    schema, headers = requests.get(f"{server.url}/v1/openapi.json").json(), server.headers(user) if user else {}
    volume, job = announced(server, ct(60)), uuid4().hex
    requests.patch(f"{volume}?offset=0", data=ct(60).array.tobytes(), headers=server.headers())
    wanted = {"request": "segment", "volume": volume[-64:], "model": "plain", "files": ["nii.gz"]}
    requests.put(f"{server.url}/v1/jobs/{job}", json=wanted, headers=server.headers())
    requests.get(f"{server.url}/v1/jobs/{job}/events", headers=server.headers())  # until it has ended
    seen = set()
    addresses = [(method, path) for path, methods in schema["paths"].items() for method in methods]
    for method, path in sorted(addresses, key=lambda address: address[0] == "delete"):
        for name in (job, "no-name"):
            address = path.replace("{job}", name).replace("{volume}", name)
            answer = requests.request(method, f"{server.url}{address}", headers=headers)
            told = schema["paths"][path][method]["responses"]
            told = told.get(str(answer.status_code)) or told["default"]
            kind = answer.headers["Content-Type"].partition(";")[0] if answer.content else ""
            seen.add((answer.status_code, kind))
            assert kind in told.get("content", {"": {}}), (method, address, answer.status_code)
            if kind == "application/json":
                form = told["content"][kind]["schema"]
                jsonschema.validate(answer.json(), {**form, "components": schema["components"]})
    assert len(seen) > 6 if user else {status for status, _ in seen} <= {200, 401, 429}, seen
    assert "HTTPValidationError" not in schema["components"]["schemas"], "a form that no answer has"


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "sha256sum"))), reason="needs curl and sha256sum")
def test_curl_alone_segments_a_volume(server, tmp_path):
    """By the words of docs/server.md: sha256sum, curl, and a line of JSON."""
    volume = ct(1)
    volume.array.tofile(tmp_path / "ct.raw")
    sha = subprocess.run(["sha256sum", tmp_path / "ct.raw"], capture_output=True, text=True).stdout.split()[0]
    grid = {"shape": [12, 40, 30], "dtype": "int16", "ijk_to_ras": volume.ijk_to_ras.ravel().tolist(), "sha256": sha}

    def curl(*arguments):
        auth = f"Authorization: Bearer {server.tokens['anna']}"
        command = ["curl", "-sS", "--fail-with-body", "-H", auth, "-H", "Content-Type: application/json", *arguments]
        done = subprocess.run(command, capture_output=True)
        assert done.returncode == 0, done
        return done.stdout

    told = json.loads(curl("-d", json.dumps(grid), f"{server.url}/v1/volumes"))
    assert told == {"id": GridHeader.of(volume.array, volume.ijk_to_ras).id, "received": 0, "bytes": 28800}
    sent = ["-X", "PATCH", "--data-binary", f"@{tmp_path / 'ct.raw'}", f"{server.url}/v1/volumes/{told['id']}?offset=0"]
    assert json.loads(curl(*sent))["received"] == 28800
    request = json.dumps({"request": "segment", "volume": told["id"], "model": "plain"})
    assert json.loads(curl("-X", "PUT", "-d", request, f"{server.url}/v1/jobs/{JOB}"))["state"] in ("queued", "running")
    events = curl("-N", f"{server.url}/v1/jobs/{JOB}/events").decode()
    states = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
    assert states[-1]["state"] == "done" and states[-1]["kept_until"] > time.time()
    result = gzip.decompress(curl(f"{server.url}/v1/jobs/{JOB}/result"))
    line, _, arrays = result.partition(b"\n")
    shape = json.loads(line)["arrays"][0]
    assert shape == ["|u1", [12, 40, 30]]
    np.testing.assert_array_equal(np.frombuffer(arrays[:14400], np.uint8).reshape(12, 40, 30), volume.array > 300)


def test_jobs_and_volumes_of_others_are_not_there(server):
    address = announced(server, ct(2))
    for method in ("get", "patch", "delete"):
        answer = getattr(requests, method)(f"{address}?offset=0", headers=server.headers("ben"))
        assert answer.status_code == 404
    requests.put(f"{server.url}/v1/jobs/{JOB}", json={"request": "x"}, headers=server.headers())
    for path in ("", "/result", "/events", "/files"):
        assert requests.get(f"{server.url}/v1/jobs/{JOB}{path}", headers=server.headers("ben")).status_code == 404


def test_a_volume_with_nan_is_refused_in_the_words_of_this_machine(server):
    volume = ct(3)
    bad = Volume(volume.array.astype(np.float32), volume.ijk_to_ras, "The volume")
    bad.array[3, 4, 5] = np.nan
    address = announced(server, bad)
    answer = requests.patch(f"{address}?offset=0", data=bad.array.tobytes(), headers=server.headers())
    assert answer.status_code == 422 and answer.json()["code"] == "input.not_finite"
    from DeepSegLogic.data.volume_checks import reject_unusable

    with pytest.raises(InputError) as local:
        reject_unusable(bad)
    assert answer.json()["message"] == local.value.message
    assert requests.get(address, headers=server.headers()).status_code == 404  # it is gone
    with pytest.raises(InputError, match="NaN or infinite"):  # our client does not even send it
        server.client().segment(bad, "plain")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
def test_refused_voxels_are_mapped_no_more_when_they_are_deleted(tmp_path, monkeypatch):
    """Else Windows would keep them."""
    bad = np.full((4, 5, 6), np.nan, np.float32)
    volumes, header, mapped = VolumeStore(tmp_path, Settings(tmp_path)), GridHeader.of(bad, np.eye(4)), []

    def look(place, **options):
        mapped.append(str(place) in Path("/proc/self/maps").read_text("utf-8"))

    monkeypatch.setattr(shutil, "rmtree", look)
    volumes.announce(header, ())
    with pytest.raises(InputError, match="NaN or infinite"), volumes.append(header.id, 0, gzipped=False) as writer:
        writer.write(bad.tobytes())
    assert mapped == [False]


def test_voxels_that_changed_on_their_way_are_refused(server):
    volume = ct(4)
    address, data = announced(server, volume), bytearray(volume.array.tobytes())
    data[1000] ^= 1
    answer = requests.patch(f"{address}?offset=0", data=bytes(data), headers=server.headers())
    assert answer.status_code == 422 and answer.json()["code"] == "input.digest"
    assert requests.get(address, headers=server.headers()).status_code == 404


def test_a_zip_bomb_grows_no_larger_than_announced(server):
    volume = ct(5)
    address = announced(server, volume)
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(64)]) + packer.flush()
    assert len(bomb) < 1 << 20  # 64 MB in it
    answer = requests.patch(f"{address}?offset=0", data=bomb, headers={**server.headers(), "Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert requests.get(address, headers=server.headers()).json()["received"] <= volume.array.nbytes
    for junk in (b"not gzip", gzip.compress(b"a") + b"more"):
        answer = requests.patch(
            f"{announced(server, ct(6))}?offset=0", data=junk, headers={**server.headers(), "Content-Encoding": "gzip"}
        )
        assert answer.status_code in (409, 422)


def test_ten_gigabytes_are_refused_before_they_are_sent(server):
    huge = {**GridHeader.of(ct().array, np.eye(4)).as_json(), "shape": [2000, 2000, 1300]}
    answer = requests.post(f"{server.url}/v1/volumes", json=huge, headers=server.headers())
    assert answer.status_code == 413 and "10400 MB" in answer.json()["message"] and answer.json()["remedy"]
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as stranger:
        head = f"PATCH /v1/volumes/{'a' * 64}?offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n"
        stranger.sendall(f"{head}Authorization: Bearer {server.tokens['anna']}\r\n\r\n".encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_without_an_end_is_cut_off(server):
    address = announced(server, ct(7))

    def endless():
        while True:
            yield bytes(1 << 16)

    try:
        answer = requests.patch(f"{address}?offset=0", data=endless(), headers=server.headers())
        assert answer.status_code == 413
    except requests.ConnectionError:
        pass  # it hung up while we were still sending
    assert requests.get(address, headers=server.headers()).json()["received"] <= 28800


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "a" * 63, "A" * 64, "%2e%2e%2fanna"]
)
def test_a_path_is_no_name(server, name):
    for path in (f"volumes/{name}", f"jobs/{name}", f"jobs/{name}/result"):
        answer = requests.get(f"{server.url}/v1/{path}", headers=server.headers())
        assert answer.status_code in (404, 405, 422) and "root:" not in answer.text
    job = {"request": "segment", "volume": "a" * 64, "model": name}
    if len(name) != 63 and name != "A" * 64:
        answer = requests.put(f"{server.url}/v1/jobs/{JOB}", json=job, headers=server.headers())
        assert answer.status_code == 422
    with pytest.raises(UsageError):
        server.users.add(f"{name}/")


GRID = {"shape": [2, 2, 2], "dtype": "int16", "ijk_to_ras": np.eye(4).ravel().tolist(), "sha256": "a" * 64}


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2, 2]},
        {"shape": [0, 2, 2]},
        {"shape": [2, 2, 1e9]},
        {"shape": "222"},
        {"dtype": "O"},
        {"dtype": "<f8"},
        {"ijk_to_ras": [0.0] * 16},
        {"ijk_to_ras": [1.0] * 15},
        {"ijk_to_ras": [float("nan")] * 16},
        {"sha256": "../x"},
        {"name": "Müller"},
    ],
)
def test_a_grid_that_is_none_is_refused_without_repeating_it(server, change):
    body = json.dumps({**GRID, **change})
    answer = requests.post(f"{server.url}/v1/volumes", data=body, headers=server.headers())
    assert answer.status_code == 422 and set(answer.json()) == {"code", "message", "remedy", "action", "details"}
    assert "Müller" not in answer.text


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"{", b"\xff", b'{"request": "export"}', b"null"])
def test_a_job_that_is_none_is_refused(server, body):
    answer = requests.put(f"{server.url}/v1/jobs/{JOB}", data=body, headers=server.headers())
    assert answer.status_code in (400, 422) and answer.json()["message"]


def test_another_version_gets_a_sentence(server):
    answer = requests.get(f"{server.url}/v2/jobs", headers=server.headers())
    assert answer.status_code == 404 and "version 1 of the protocol, not 2" in answer.json()["message"]


@pytest.mark.parametrize("user", ["anna", None])
def test_a_version_of_thousands_of_digits_is_answered(server, user):
    headers = server.headers(user) if user else {}
    answer = requests.get(f"{server.url}/v{'9' * 5000}/jobs", headers=headers)
    assert answer.status_code == (404 if user else 401) and answer.json()["message"]


@pytest.mark.parametrize(
    "change, code",
    [
        ({"shape": [1 << 15] * 3}, "usage.too_large"),  # 70 TB
        ({"ijk_to_ras": [0.0] * 16}, "usage.request"),
        ({"ijk_to_ras": np.diag([1e5, 1e5, 1e5, 1.0]).ravel().tolist()}, "input.spacing"),  # 10 km: 10^12 windows
    ],
)
def test_an_estimate_for_a_volume_that_would_be_refused_is_refused(server, change, code):
    address = f"{server.url}/v1/jobs/{uuid4().hex}"
    job = {"request": "estimate", "shape": [99, 99, 99], "ijk_to_ras": GRID["ijk_to_ras"], "model": "ct_demo", **change}
    answer = requests.put(address, json=job, headers=server.headers())
    if answer.status_code == 200:
        state = lambda: requests.get(address, headers=server.headers()).json()  # noqa: E731
        assert server.until(lambda: state()["ended"])
        assert state()["error"]["code"] == code
    else:
        assert answer.json()["code"] == code


def test_a_volume_that_a_job_needs_stays(make_server):
    server = make_server()
    address = announced(server, ct(1))
    requests.patch(f"{address}?offset=0", data=ct(1).array.tobytes(), headers=server.headers())
    job = {"request": "segment", "volume": address.rpartition("/")[2], "model": "gated"}
    assert requests.put(f"{server.url}/v1/jobs/{JOB}", json=job, headers=server.headers()).status_code == 200
    assert requests.put(f"{server.url}/v1/jobs/{JOB}", json=job, headers=server.headers()).status_code == 200
    other = {**job, "force": True}
    assert requests.put(f"{server.url}/v1/jobs/{JOB}", json=other, headers=server.headers()).status_code == 409
    assert requests.delete(address, headers=server.headers()).status_code == 409
    server.open_gate()
    state = lambda: requests.get(f"{server.url}/v1/jobs/{JOB}", headers=server.headers()).json()["state"]  # noqa: E731
    assert server.until(lambda: state() == "done")
    assert requests.delete(address, headers=server.headers()).status_code == 204
    assert requests.delete(f"{server.url}/v1/jobs/{JOB}", headers=server.headers()).status_code == 204
    assert requests.get(f"{server.url}/v1/jobs/{JOB}", headers=server.headers()).status_code == 404
    assert not [p for p in (server.folder / "server" / "users").rglob("*") if p.is_file()]


def test_metrics_name_no_user(server):
    requests.get(f"{server.url}/v1/models", headers=server.headers())
    text = requests.get(f"{server.url}/v1/metrics", headers=server.headers()).text
    assert 'deepseg_requests_total{status="200"}' in text and 'deepseg_jobs{state="queued"}' in text
    assert "anna" not in text and "ller" not in text


def test_who_says_nothing_is_hung_up_on(make_server):
    server = make_server(patience_s=1.0)
    host, port = server.url.removeprefix("http://").split(":")
    began = time.monotonic()
    with (
        socket.create_connection((host, int(port)), timeout=20) as silent,
        socket.create_connection((host, int(port)), timeout=20) as half,
    ):
        half.sendall(b"GET /v1/about HTTP/1.1\r\nHost: ")
        assert silent.recv(10) == b"" and half.recv(10) == b""
    with socket.create_connection((host, int(port)), timeout=20) as slow:  # a body that never comes
        head = "POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        slow.sendall(f"{head}Authorization: Bearer {server.tokens['anna']}\r\n\r\n".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 15


def test_too_many_requests_are_slowed_down(make_server):
    server = make_server(burst=5, rate=1e-3)  # none more, however long seven requests take
    answers = [requests.get(f"{server.url}/v1/jobs", headers=server.headers()) for _ in range(7)]
    assert [a.status_code for a in answers].count(429) >= 1 and answers[-1].headers["Retry-After"]
    assert requests.get(f"{server.url}/v1/jobs", headers=server.headers("ben")).status_code == 200


def test_users_quota(make_server):
    """What nobody needs makes room; what does not fit even then is refused in words."""
    server = make_server(quota=70_000, largest=60_000)
    first, second = announced(server, ct(1)), announced(server, ct(2))
    third = announced(server, ct(3))  # 3 × 28 800 bytes: the first goes
    here = [requests.get(a, headers=server.headers()).status_code for a in (first, second, third)]
    assert here == [404, 200, 200]
    header = GridHeader.of(ct(4, (40, 40, 30)).array, np.eye(4)).as_json()
    answer = requests.post(f"{server.url}/v1/volumes", json=header, headers=server.headers())
    assert answer.status_code == 413
    announced(server, ct(5), "ben")  # who has room of their own


def test_a_full_disk_is_told(make_server):
    server = make_server(reserve=1 << 60)
    header = GridHeader.of(ct(4).array, np.eye(4)).as_json()
    answer = requests.post(f"{server.url}/v1/volumes", json=header, headers=server.headers())
    assert answer.status_code == 507 and answer.json()["message"] == "The server's disk is full."


def test_what_was_kept_long_enough_is_cleared(make_server):
    server = make_server(keep_s=3600)
    address = announced(server, ct(1))
    (kept,) = server.folder.glob("**/volumes/*")
    server.kill()
    header = kept / "header.json"
    os.utime(header, (time.time() - 3700,) * 2)  # when it was used last
    server.start()
    assert server.until(lambda: not kept.exists())  # who asks for it uses it, and it stays
    assert requests.get(address, headers=server.headers()).status_code == 404


def test_what_is_no_user_keeps_nothing_from_being_cleared(make_server):
    server = make_server(keep_s=3600)
    announced(server, ct(1), "ben")
    (kept,) = server.folder.glob("**/volumes/*")
    server.kill()
    users = server.folder / "server" / "users"
    (users / ".stray").touch()
    (users / "aaron").mkdir()
    (users / "aaron" / "volumes").touch()  # a disk that lost a folder
    os.utime(kept / "header.json", (time.time() - 3700,) * 2)
    server.start()
    assert server.until(lambda: not kept.exists())
    assert "Old volumes of aaron could not be deleted" in (server.folder / "log").read_text()


def test_damaged_tokens_let_nobody_in_and_are_told(make_server):
    server = make_server()
    path = server.folder / "server" / "tokens.json"
    kept = path.read_bytes()
    for damaged in (kept[:40], b"[1]", b'{"anna": "secret"}'):
        path.write_bytes(damaged)
        answer = requests.get(f"{server.url}/v1/jobs", headers=server.headers())
        assert answer.status_code == 503 and answer.json()["message"] == "The server cannot read its tokens."
        for use in (server.users.made, lambda: server.users.add("carl")):
            with pytest.raises(UsageError, match=r"tokens\.json is damaged\. Restore it"):
                use()
        assert path.read_bytes() == damaged
    path.write_bytes(kept)
    assert requests.get(f"{server.url}/v1/jobs", headers=server.headers()).status_code == 200


def test_the_log_tells_who_did_what(make_server):
    server = make_server()
    server.client().segment(ct(1), "plain")
    requests.get(f"{server.url}/v1/jobs", headers={"Authorization": "Bearer wrong"})
    log = server.folder / "log"
    assert server.until(lambda: "showed no valid token" in log.read_text())
    lines = [re.sub(r"[0-9a-f]{32}", "ID", line) for line in log.read_text().splitlines()]
    told = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "", line) for line in lines]
    assert told == [
        "Job ID of anna, segment with 'plain' begins on cpu.",
        "Job ID of anna, segment with 'plain': done.",
        "127.0.0.1 showed no valid token.",
    ]


def test_the_log_quotes_no_request_and_has_the_traceback_of_what_is_unexpected(make_server):
    server = make_server()
    log, asked = server.folder / "log", {"structures": ["lesion 7"]}
    with pytest.raises(UsageError, match="lesion 7"):
        server.client().segment(ct(1), "picky", **asked)
    with pytest.raises(Cancelled):
        server.client().segment(ct(1), "gated", **asked, cancel=lambda: bool(len(server.starts) > 1))
    assert server.until(lambda: "'gated': cancelled." in log.read_text())
    assert "'picky': failed (usage)." in log.read_text()
    assert not re.search("lesion|Traceback", log.read_text())
    with pytest.raises(DeepSegError, match="Unexpected error"):
        server.client().segment(ct(1), "faulty", **asked)
    assert server.until(lambda: "Traceback" in log.read_text() and "ZeroDivisionError" in log.read_text())


def test_what_the_client_can_know_is_refused_before_the_volume_travels(make_server):
    server = make_server()
    client, volume = server.client(), ct(1)
    labels = LabelMap((volume.array > 300).astype(np.uint8), volume.ijk_to_ras, [Structure(1, "bone", "Bone")])
    with pytest.raises(UsageError, match="wild"):
        client.segment(volume, "plain", quality="wild")
    with pytest.raises(UsageError, match="wild"):
        client.surfaces(labels, smoothing="wild")
    assert not list((server.folder / "server").rglob("header.json"))
