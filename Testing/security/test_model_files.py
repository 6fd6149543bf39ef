"""Archives, downloads and weights that lie about themselves or are damaged."""

import os
import pickle
import socket
import struct
import threading
import tracemalloc
import zipfile

import pytest
import torch

from DeepSegLogic.models import download
from DeepSegLogic.models import install as fetch
from DeepSegLogic.models.card import ModelCard, Part
from DeepSegLogic.models.install import download_model
from DeepSegLogic.models.store import Store
from DeepSegLogic.models.weights import read_checkpoint
from DeepSegLogic.util import safe_zip as archive
from DeepSegLogic.util.errors import ModelError
from DeepSegLogic.util.safe_zip import extract, file_sizes

# --- archives ---------------------------------------------------------------------------------------------------------


def zipped(path, names, flags=0x800):
    """A zip file of empty files with these names, as bytes; no library would write all of them."""
    local, directory = [], []
    for name in names:
        common = struct.pack("<HHHHHIIIHH", 20, flags, 0, 0, 33, 0, 0, 0, len(name), 0)
        at = sum(map(len, local)) if len(names) < 100 else 0
        local.append(b"PK\x03\x04" + common + name)
        directory.append(b"PK\x01\x02" + b"\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + name)
        if len(names) >= 100:
            local = local[:1]
    body, listing = b"".join(local), b"".join(directory)
    count = min(len(names), 0xFFFF)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(listing), len(body), 0)
    path.write_bytes(body + listing + end)
    return path


def refused(path, tmp_path, why):
    for use in (lambda: extract(path, tmp_path / "out"), lambda: file_sizes(path)):
        with pytest.raises(ModelError, match=why) as caught:
            use()
        assert caught.value.code == "model.archive" and len(str(caught.value)) < 600
    assert not (tmp_path / "out").exists()


def test_the_maker_of_these_archives_makes_good_ones(tmp_path):
    assert file_sizes(zipped(tmp_path / "a.zip", [b"a/b.txt", "ä.txt".encode()])) == {"a/b.txt": 0, "ä.txt": 0}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"x" * 201, "too long"),
        (b"x" * 60_000, "too long"),
        ("ä".encode() * 150, "too long"),
        (b"/".join([b"x" * 100] * 20), "too long"),
        (b"/".join([b"x"] * 40), "too long"),
        (b"\xff\xfe\xfd", "not UTF-8"),
        (b"a/\xc3", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b"a\x1b[31m", "cannot be shown"),
        (b"a\nb", "cannot be shown"),
    ],
)
def test_names_that_no_file_can_have_are_refused(name, why, tmp_path):
    refused(zipped(tmp_path / "a.zip", [b"good", name]), tmp_path, why)


@pytest.mark.parametrize("count", [archive.MAX_FILES + 1, 600_000])
def test_floods_of_entries_are_refused_before_they_take_memory(count, tmp_path):
    path = zipped(tmp_path / "a.zip", [b"%d" % n for n in range(count)])
    tracemalloc.start()
    try:
        refused(path, tmp_path, "bomb|too long")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_folders_count_as_entries(tmp_path):
    refused(zipped(tmp_path / "a.zip", [b"%d/" % n for n in range(archive.MAX_FILES + 1)]), tmp_path, "bomb")


# --- downloads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def serve(monkeypatch):
    """Serves raw bytes to every request on this machine; gives the address and how many requests came."""
    listening, seen = [], []
    monkeypatch.setattr(download, "BACKOFF_S", 0.01)

    def start(head, body=b"x" * 65536, times=1):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    seen.append(1)
                    try:
                        connection.sendall(head)
                        for _ in range(times):
                            connection.sendall(body)
                    except OSError:
                        pass

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/weights.zip"

    start.seen = seen
    yield start
    for server in listening:
        server.close()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_download_without_an_end_is_stopped(serve, tmp_path):
    url = serve(b"HTTP/1.1 200 OK\r\n\r\n", times=1_000_000)
    with pytest.raises(ModelError, match="larger") as caught:
        download.download(url, tmp_path / "weights.zip", limit=1 << 20)
    assert caught.value.code == "model.size" and left(tmp_path) == []


def test_a_chunked_download_without_an_end_is_stopped(serve, tmp_path):
    url = serve(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", 1_000_000
    )
    with pytest.raises(ModelError, match="larger"):
        download.download(url, tmp_path / "weights.zip", limit=1 << 20)
    assert left(tmp_path) == []


def test_what_is_announced_as_too_large_is_not_begun(serve, tmp_path):
    url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")
    with pytest.raises(ModelError, match="larger"):
        download.download(url, tmp_path / "weights.zip")
    assert left(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "", "1e9", "²", "1, 2", "9" * 400])
def test_a_length_that_is_none_ends_in_a_sentence(serve, tmp_path, length):
    url = serve(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"), b"x" * 1000)
    try:
        file = download.download(url, tmp_path / "weights.zip")
        assert file.stat().st_size <= 1000
    except ModelError as error:
        assert error.code in ("model.offline", "model.size")


def test_a_length_that_never_comes_is_given_up(serve, tmp_path):
    url = serve(b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 100000\r\n\r\n', b"x")
    with pytest.raises(ModelError) as caught:
        download.download(url, tmp_path / "weights.zip")
    assert caught.value.code == "model.offline" and len(serve.seen) == download.ATTEMPTS


def test_a_transfer_that_never_gets_far_is_given_up(serve, tmp_path):
    url = serve(b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 99999\r\n\r\n', b"xy")
    (tmp_path / "weights.zip.partial.json").write_text("[1]", "utf-8")  # of another shape besides
    with pytest.raises(ModelError):
        download.download(url, tmp_path / "weights.zip")


def test_a_catalogues_file_may_not_be_far_larger_than_it_says(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    url = serve(b"HTTP/1.1 200 OK\r\n\r\n", times=1_000_000)
    card = ModelCard("small", "Small", parts=[Part(url=url, size_bytes=1000)])
    monkeypatch.setattr(fetch, "in_catalogue", lambda name: card)
    with pytest.raises(ModelError, match="larger"):
        download_model(card)
    assert Store().installed() == [] and not any((tmp_path / "store" / "downloads").iterdir())


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"network_weights": {"a": torch.arange(2000.0)}, "epoch": 3}, file)
    return file


def damaged(file):
    with pytest.raises(ModelError) as caught:
        read_checkpoint(file)
    assert caught.value.code == "model.corrupted" and "program code" not in str(caught.value)


def flip(file, at, bit=0):
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def test_damaged_weights_are_not_called_program_code(weights):
    whole = weights.read_bytes()
    with zipfile.ZipFile(weights) as zipped_file:
        member = next(i for i in zipped_file.infolist() if i.filename.endswith("data.pkl"))
        start = whole.index(zipped_file.read(member))
    said = 0
    for at in range(start, start + member.file_size):
        for bit in (0, 3, 7):
            flip(weights, at, bit)
            try:
                read_checkpoint(weights)
            except ModelError as error:
                said += 1
                assert error.code == "model.corrupted" and "program code" not in str(error)
            weights.write_bytes(whole)
    assert said > 100


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_weights_are_damaged(weights, share):
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    damaged(weights)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\0" * 5000, bytes(range(256)) * 20, b"PK\x03\x04", b"\x80"])
def test_other_files_are_damaged_weights(weights, content):
    weights.write_bytes(content)
    damaged(weights)


def test_truncated_weights_of_the_old_format_are_damaged(weights):
    torch.save({"a": torch.arange(2000.0)}, weights, _use_new_zipfile_serialization=False)
    whole = weights.read_bytes()
    for length in range(1, len(whole), 97):
        weights.write_bytes(whole[:length])
        damaged(weights)


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


@pytest.mark.parametrize("save", ["zip", "old", "pickle"])
def test_program_code_is_called_so(weights, save, tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "ran"))
    if save == "pickle":
        weights.write_bytes(pickle.dumps({"a": Evil()}))
    else:
        torch.save({"a": Evil()}, weights, _use_new_zipfile_serialization=save == "zip")
    with pytest.raises(ModelError, match="program code") as caught:
        read_checkpoint(weights)
    assert caught.value.code == "model.untrusted" and not (tmp_path / "ran").exists()
