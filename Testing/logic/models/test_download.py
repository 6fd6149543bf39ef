"""Downloads from a server that misbehaves in every way we could think of."""

import hashlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from DeepSegLogic.models.download import ATTEMPTS, download
from DeepSegLogic.util.errors import Cancelled, ModelError, ResourceError


def get(site, tmp_path, **options):
    return download(site.url("weights.zip"), tmp_path / "weights.zip", **options)


def test_a_file_arrives_whole_with_progress(site, tmp_path):
    seen = []
    site.delay_s = 0.002
    path = get(site, tmp_path, progress=lambda *report: seen.append(report))
    assert path.read_bytes() == site.files["weights.zip"]
    assert [p.name for p in tmp_path.iterdir()] == ["weights.zip"]
    fractions = [fraction for _, fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_broken_transfers_are_gone_on_with(site, tmp_path):
    site.cut_after = [400_000, 300_000]
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]
    starts = [int(span.removeprefix("bytes=").rstrip("-")) if span else 0 for _, span in site.requests]
    assert starts[0] == 0 and 0 < starts[1] <= 400_000 and starts[1] < starts[2] <= 700_000


def test_a_server_without_ranges_starts_again(site, tmp_path):
    site.ranges, site.cut_after = False, [400_000]
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]


def test_a_file_replaced_meanwhile_is_not_mixed_with_the_old_one(site, tmp_path):
    (tmp_path / "weights.zip.partial").write_bytes(b"old" * 1000)
    (tmp_path / "weights.zip.partial.json").write_text(
        f'{{"url": "{site.url("weights.zip")}", "validator": "\\"zero\\"", "size": 9000}}', "utf-8"
    )
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]


def test_no_etag_means_no_going_on(site, tmp_path):
    site.etag, site.cut_after = None, [400_000]
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]
    assert site.requests[1][1] is None


def test_passing_errors_are_tried_again(site, tmp_path):
    site.failures = [503, 500, 429]
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(site, tmp_path, status):
    site.failures = [status]
    with pytest.raises(ModelError, match=f"HTTP {status}"):
        get(site, tmp_path)
    assert len(site.requests) == 1


def test_a_server_that_stays_broken_is_given_up(site, tmp_path):
    site.failures = [503] * 50
    with pytest.raises(ModelError, match="HTTP 503") as caught:
        get(site, tmp_path)
    assert caught.value.code == "model.offline"
    assert len(site.requests) == ATTEMPTS


def test_nobody_there(tmp_path):
    with socket.socket() as taken, pytest.raises(ModelError, match="cannot be reached") as caught:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        download(f"http://127.0.0.1:{taken.getsockname()[1]}/weights.zip", tmp_path / "weights.zip")
    assert caught.value.code == "model.offline"


def test_redirects_are_followed(site, tmp_path):
    site.redirects["latest.zip"] = site.url("weights.zip")
    path = download(site.url("latest.zip"), tmp_path / "weights.zip")
    assert path.read_bytes() == site.files["weights.zip"]


@pytest.mark.parametrize("address", ["http://example.com/weights.zip", "ftp://example.com/weights.zip"])
def test_unencrypted_addresses_are_refused_also_after_a_redirect(site, tmp_path, address):
    with pytest.raises(ModelError):
        download(address, tmp_path / "weights.zip")
    site.redirects["latest.zip"] = address
    with pytest.raises(ModelError):
        download(site.url("latest.zip"), tmp_path / "weights.zip")


def test_the_digest_is_checked_and_a_wrong_file_thrown_away(site, tmp_path):
    good = hashlib.sha256(site.files["weights.zip"]).hexdigest()
    with pytest.raises(ModelError, match="digest") as caught:
        get(site, tmp_path, digest="sha256:" + "0" * 64)
    assert caught.value.code == "model.digest"
    assert list(tmp_path.iterdir()) == []
    get(site, tmp_path, digest=f"sha256:{good}")
    sha1 = hashlib.sha1(site.files["weights.zip"]).hexdigest()
    get(site, tmp_path, digest=f"sha1:{sha1}")


def test_cancelling_a_slow_transfer_keeps_what_came(site, tmp_path):
    site.delay_s = 0.01
    with pytest.raises(Cancelled):
        get(site, tmp_path, cancel=lambda: (tmp_path / "weights.zip.partial").exists())
    site.delay_s = 0.0
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]


def test_cancelling_does_not_wait_for_a_silent_server(site, tmp_path):
    site.delay_s = 20.0
    started = time.monotonic()
    with pytest.raises(Cancelled):
        get(site, tmp_path, cancel=lambda: bool(site.requests))
    assert time.monotonic() - started < 15


def test_an_answer_that_comes_after_the_cancellation_is_not_written(site, tmp_path):
    """The next call may have begun to download to the same place."""
    site.answering = threading.Event()
    before = set(threading.enumerate())
    with pytest.raises(Cancelled):
        get(site, tmp_path, cancel=lambda: bool(site.requests))
    abandoned = [thread for thread in threading.enumerate() if thread not in before and "run" in thread.name]
    partial = tmp_path / "weights.zip.partial"
    partial.write_bytes(b"of the next call")
    site.answering.set()
    for thread in abandoned:
        thread.join(10)
    assert abandoned and partial.read_bytes() == b"of the next call"


def test_killed_half_way_the_next_call_goes_on(site, tmp_path):
    site.delay_s = 0.005
    program = f"""
        from pathlib import Path
        from DeepSegLogic.models.download import download
        download({site.url("weights.zip")!r}, Path({str(tmp_path / "weights.zip")!r}))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    partial = tmp_path / "weights.zip.partial"
    while not (partial.exists() and partial.stat().st_size > 300_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    site.delay_s = 0.0
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]
    assert site.requests[-1][1] is not None  # a part was asked for, not the whole


def test_a_full_disk_is_said_before_and_during_and_survived(site, tmp_path, small_disk):
    with pytest.raises(ResourceError, match="too full") as caught:
        download(site.url("weights.zip"), small_disk / "weights.zip")
    assert caught.value.code == "resource.disk"
    assert not (small_disk / "weights.zip.partial").exists()  # said before the first byte

    site.files["weights.zip"] = site.files["weights.zip"][:900_000]
    site.delay_s = 0.002
    filler = small_disk / "filler"

    def fill_up() -> bool:
        partial = small_disk / "weights.zip.partial"
        if partial.exists() and not filler.exists():
            filler.write_bytes(b"x" * 500_000)
        return False

    with pytest.raises(ResourceError, match="too full"):
        download(site.url("weights.zip"), small_disk / "weights.zip", cancel=fill_up)
    filler.unlink()
    assert download(site.url("weights.zip"), small_disk / "weights.zip").read_bytes() == site.files["weights.zip"]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_proxy_of_the_environment_is_used(site, new_site, tmp_path, monkeypatch):
    proxy = new_site()
    proxy.files["weights.zip"] = b"through the proxy"
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    assert get(site, tmp_path).read_bytes() == b"through the proxy"
    assert proxy.requests[0][0] == site.url("weights.zip")
    monkeypatch.setenv("NO_PROXY", "localhost")
    (tmp_path / "weights.zip").unlink()
    assert get(site, tmp_path).read_bytes() == site.files["weights.zip"]
    proxy.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl to make a certificate")
    return certificate, key


def test_a_certificate_must_be_trusted_and_can_be(new_site, certificate, tmp_path, monkeypatch):
    site = new_site(certificate)
    site.files["weights.zip"] = b"weights" * 1000
    with pytest.raises(ModelError, match="certificate") as caught:
        get(site, tmp_path)
    assert caught.value.code == "model.certificate" and "REQUESTS_CA_BUNDLE" in caught.value.remedy
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
    assert get(site, tmp_path).read_bytes() == b"weights" * 1000
    site.close()
