"""Archives that try to do harm, or are broken."""

import stat
import zipfile
from types import SimpleNamespace

import pytest

from DeepSegLogic.util import safe_zip as archive
from DeepSegLogic.util.errors import Cancelled, ModelError, ResourceError
from DeepSegLogic.util.safe_zip import extract


@pytest.fixture
def zipped(tmp_path):
    """Makes a zip file of (name or ZipInfo, content) pairs."""

    def make(*members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "model.zip"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, content in members:
                file.writestr(name, content)
        return path

    return make


def refused(path, tmp_path, why):
    with pytest.raises(ModelError, match=why) as caught:
        extract(path, tmp_path / "out")
    assert caught.value.code == "model.archive"
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "out") == ["model.zip"]


def test_an_honest_archive_comes_out_as_it_went_in(zipped, tmp_path):
    path = zipped(("net/plans.json", "{}"), ("net/fold_0/", ""), ("net/fold_0/weights ä.pth", b"w" * 100_000))
    extract(path, tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert files == {"net/plans.json": b"{}", "net/fold_0/weights ä.pth": b"w" * 100_000}


@pytest.mark.parametrize(
    "name", ["../evil", "net/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "\\\\server\\share\\evil", "net/.."]
)
def test_paths_outside_are_refused(zipped, tmp_path, name):
    refused(zipped(("net/plans.json", "{}"), (name, "x")), tmp_path, "outside")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(zipped, tmp_path, kind):
    link = zipfile.ZipInfo("net/weights.pth")
    link.external_attr = (kind | 0o777) << 16
    refused(zipped((link, "/etc/passwd")), tmp_path, "link or a device")


def test_bombs_are_refused(zipped, tmp_path):
    refused(zipped(("zeros", bytes(200 << 20))), tmp_path, "bomb")


def test_floods_of_files_are_refused(zipped, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 10)
    refused(zipped(*((str(n), "x") for n in range(11))), tmp_path, "bomb")


def test_a_cut_off_archive_is_refused(zipped, tmp_path):
    path = zipped(("a", bytes(range(256)) * 100))
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, tmp_path, "not a complete zip file")


def test_a_flipped_bit_is_found(zipped, tmp_path):
    path = zipped(("a", b"weights" * 1000), compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        extract(path, tmp_path / "out")


def test_the_same_name_twice_is_refused(zipped, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(("a", "1"), ("a", "2"))
    with pytest.raises(ModelError, match="cannot be read"):
        extract(path, tmp_path / "out")


def test_a_file_that_is_a_folder_too_is_refused(zipped, tmp_path):
    for first, second in (("a", "a/b"), ("a/b", "a")):
        with pytest.raises(ModelError, match="cannot be read"):
            extract(zipped((first, "1"), (second, "2")), tmp_path / first.replace("/", "_"))


def test_passwords_are_refused(zipped, tmp_path):
    path = zipped(("a", "secret"), compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in the file's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(content)
    refused(path, tmp_path, "encrypted")


def test_room_is_checked_beforehand(zipped, tmp_path, monkeypatch):
    path = zipped(("a", "x" * 1000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=999))
    with pytest.raises(ResourceError):
        extract(path, tmp_path / "out")


def test_it_can_be_cancelled(zipped, tmp_path):
    with pytest.raises(Cancelled):
        extract(zipped(("a", "x")), tmp_path / "out", cancel=lambda: True)
