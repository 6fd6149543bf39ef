"""What a killed program leaves is cleared or finished by the next one: killed before each step of its work."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic.models.store import Store
from DeepSegLogic.session.doctor import examine
from DeepSegLogic.util import staging
from DeepSegLogic.util.atomic_write import atomic_folder, atomic_path
from DeepSegLogic.util.errors import OutputError
from DeepSegLogic.worker import WorkerClient
from DeepSegLogic.worker import shared_memory as shared

posix = pytest.mark.skipif(os.name == "nt", reason="forks, and kills without warning")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /dev/shm")
STEPS = ["rename", "replace", "fsync", "mkdir", "rmdir", "unlink"]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Killed programs lose nothing that the system has, be it on the disk or not."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def killed_at(number: int, work) -> bool:
    """Do the work in a child process that is killed before its ``number``-th step; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(call):
            def step(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return step

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in folder.rglob("*") if p.is_file()}


EARLIER = ["earlier.txt", "earlier/apart.txt"]


def write(folder: Path, text: str) -> None:
    with atomic_folder(folder, last="told.json", outdated=[*EARLIER, "labels.txt", "surfaces/old.txt"]) as temporary:
        (temporary / "surfaces").mkdir()
        for name in ("told.json", "labels.txt", f"surfaces/{text}.txt", *(EARLIER if text == "old" else ())):
            with atomic_path(temporary / name) as path:
                path.write_text(text, "utf-8")


@posix
def test_a_folder_is_wholly_old_or_new_wherever_its_writer_is_killed(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, texts in ((old, ["old"]), (new, ["old", "new"])):
        for text in texts:
            write(folder, text)
        (folder / "mine.txt").write_text("the user's own", "utf-8")
    seen, number = [], 0
    while True:
        folder = Path(shutil.copytree(old, tmp_path / str(number)))
        done = not killed_at(number, lambda folder=folder: write(folder, "new"))
        if content(folder).get("told.json") == "new":  # it comes last
            assert content(new).items() <= content(folder).items()
        told = staging.sweep(folder)
        assert content(folder) in (content(old), content(new)), number
        assert [p.name for p in folder.rglob(".*")] == []
        seen.append((content(folder) == content(new), bool(told)))
        write(folder, "new")
        assert content(folder) == content(new)
        if done:
            break
        number += 1
    assert seen == sorted(seen, key=lambda s: s[0]), "once new, it stays new"
    assert {(False, True), (True, True)} <= set(seen), "some were cleared, some were finished, and it was said"
    assert not [name for name in EARLIER if name in content(new)] and not (new / "earlier").exists()


@posix
def test_a_file_is_old_or_new_wherever_its_writer_is_killed(tmp_path):
    path, number, done = tmp_path / "labels.txt", 0, False

    def work():
        with atomic_path(path) as temporary:
            temporary.write_text("new", "utf-8")

    while not done:
        path.write_text("old", "utf-8")
        done = not killed_at(number, work)
        assert path.read_text("utf-8") in ("old", "new")
        work()
        assert content(tmp_path) == {"labels.txt": "new"}
        assert list(tmp_path.iterdir()) == [path]
        number += 1
    assert number > 3


@posix
def test_an_installed_model_is_old_or_new_wherever_its_import_is_killed(tmp_path, demo_model):
    from dataclasses import replace

    from DeepSegLogic.models import ModelCard

    card = replace(ModelCard.read(demo_model), id="mine")
    number, done = 0, False

    def install(store, text):
        with store.lock("import"), store.staging("import") as staged, store.lock("mine"):
            made = staged / "model"
            made.mkdir()
            (made / "weights.txt").write_text(text, "utf-8")
            store.install(card, made)

    while not done:
        store = Store(tmp_path / str(number))
        install(store, "old")
        done = not killed_at(number, lambda store=store: install(store, "new"))
        text = (store.root / "mine" / "weights.txt").read_text("utf-8")
        assert store.find("mine").digests["weights.txt"].startswith("sha256:"), "whole, without a next run"
        assert text in ("old", "new")
        store.sweep()
        assert list((store.root / ".staging").glob("*")) == []
        install(store, "newest")
        assert (store.root / "mine" / "weights.txt").read_text("utf-8") == "newest"
        number += 1


@pytest.mark.parametrize(
    "listed", ['["../mine.txt", "{}/mine.txt", "link/mine.txt", "a/../../mine.txt", ""]', "{}", "["]
)
def test_a_crafted_list_of_outdated_files_removes_nothing_elsewhere(tmp_path, listed):
    mine, results = tmp_path / "mine.txt", tmp_path / "results"
    mine.write_text("the user's own", "utf-8")
    left = results / f"{staging.PREFIX}crafted"
    (left / "files").mkdir(parents=True)
    (results / "link").symlink_to(tmp_path)
    (left / "files" / "new.txt").write_text("new", "utf-8")
    (left / "outdated").write_text(listed.replace("{}", str(tmp_path)) if "mine" in listed else listed, "utf-8")
    (left / "complete").touch()
    assert "the move is now complete" in staging.sweep(results)[0]
    assert mine.read_text("utf-8") == "the user's own" and (results / "new.txt").exists() and not left.exists()


def test_what_is_in_use_or_somebody_elses_is_left_alone(tmp_path):
    with staging.staging_folder(tmp_path) as own:
        (own / "half.txt").write_text("half", "utf-8")
        assert staging.sweep(tmp_path) == []
        assert (own / "half.txt").exists()
        with atomic_path(tmp_path / "other.txt") as path:
            path.write_text("", "utf-8")
        assert (own / "half.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["other.txt"]
    strange = tmp_path / ".deepseg-0123ab-abcdefgh"  # of another machine, by its name
    strange.mkdir()
    (tmp_path / ".deepseg-link").symlink_to(tmp_path)
    assert staging.sweep(tmp_path) == []
    assert strange.exists()
    (tmp_path / ".deepseg-0old_one").mkdir()  # as earlier versions named theirs
    assert len(staging.sweep(tmp_path)) == 1


def test_where_nothing_can_be_locked_one_can_still_write(tmp_path, monkeypatch):
    import filelock

    def refuse(self, *_, **__):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    write(tmp_path, "new")
    assert content(tmp_path)["labels.txt"] == "new"
    assert list(tmp_path.glob(".*")) == []
    (tmp_path / ".deepseg-whose").mkdir()
    assert staging.sweep(tmp_path) == []


@pytest.mark.parametrize("moment", ["at once", "half-way", "at the end"])
def test_a_folder_that_is_deleted_meanwhile_is_an_error(tmp_path, moment):
    folder = tmp_path / "out"
    with pytest.raises(OutputError, match="deleted or moved") as caught, atomic_folder(folder) as temporary:
        for number in range(3):
            if number == {"at once": 0, "half-way": 1}.get(moment, 3):
                shutil.rmtree(folder)
            with atomic_path(temporary / f"{number}.txt") as path:
                path.write_text("text", "utf-8")
        if moment == "at the end":
            shutil.rmtree(folder)
    assert caught.value.exit_code == 5
    assert not folder.exists() or list(folder.iterdir()) == []


def test_the_doctor_clears_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    host = staging._HOST
    left = [
        tmp_path / "results" / "patient 1" / ".deepseg-12345678",
        tmp_path / "models" / ".staging" / "some_model",
        tmp_path / "models" / f".deepseg-{host}-12345678",
        tmp_path / "tmp" / f"deepseg-{host}-12345678",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half.txt").write_text("half", "utf-8")
    told = [f.fact for f in examine(tmp_path / "results") if f.topic == "Leftovers"]
    assert [folder for folder in left if folder.exists()] == []
    assert len([sentence for sentence in told if "removed" in sentence]) == 4
    assert [f.fact for f in examine(tmp_path / "results") if f.topic == "Leftovers"] == ["none from interrupted runs"]


SENDER = """
import os, sys, time, threading
import numpy as np
from DeepSegLogic.worker import WorkerClient
client = WorkerClient()
client.start()
while not client.hello:
    client.poll()
    time.sleep(0.01)
os.kill(client.hello["pid"], 19)  # SIGSTOP: it will not read what we send
client.submit("ping", array=np.ones(1000))
print(client.hello["pid"], client._connection.link.share, flush=True)
time.sleep(600)
"""


def blocks(prefix: str) -> set[str]:
    return {p.name for p in Path("/dev/shm").glob(f"{prefix}*")}


@linux
def test_shared_memory_goes_when_client_and_worker_die_together(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SENDER], stdout=subprocess.PIPE, encoding="utf-8")
    (worker, share), deadline = process.stdout.readline().split(), time.monotonic() + 30
    while not (mine := blocks(share)):  # a thread sends it
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(mine) == 1
    shared.sweep()
    assert blocks(share) == mine, "it is in use"
    process.kill()
    os.kill(int(worker), signal.SIGKILL)
    process.communicate()
    with WorkerClient() as client:
        assert client.call("ping")["pid"]
        assert not blocks(share)


@linux
def test_a_block_that_is_swept_while_it_is_made_is_made_again(monkeypatch):
    left = []
    lock = shared._flock
    name = f"{shared.NAME}{os.getpid()}_{time.monotonic_ns() % 10**6}"

    def late(file, wait=True):
        if wait and not left:
            shared.sweep()
            left.append(blocks(name))
        lock(file, wait)

    monkeypatch.setattr(shared, "_flock", late)
    block = shared.create(name, 1000)
    assert left == [set()] and blocks(name) == {name}
    np.ndarray(1000, np.uint8, block.buf)[:] = 1
    block.close()
    assert shared.remove(name)
