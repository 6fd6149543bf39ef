"""`deepseg serve`, `tokens`, `servers` and `segment --server`, as their users run them."""

import json
import os
import shutil
import subprocess

import keyring
import keyring.backend
import keyring.errors
import numpy as np
import pytest

from DeepSegLogic import InputError, ModelError, Volume, read_volume, write_volume
from DeepSegLogic.cli import main
from DeepSegLogic.cli.demo import demo_ct
from DeepSegLogic.remote import known
from DeepSegLogic.service.certificate import own_certificate
from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.worker import WorkerClient

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to look at a certificate")

pytestmark = pytest.mark.usefixtures("own_home")


def test_a_ct_is_segmented_as_on_this_machine(command, tmp_path, monkeypatch, capsys):
    whole = read_volume(demo_ct())
    part = Volume(np.ascontiguousarray(whole.array[8:28, 24:104, 16:112]), whole.ijk_to_ras, "part")
    write_volume(part, tmp_path / "secret name.nii.gz")
    ct = read_volume(tmp_path / "secret name.nii.gz")
    monkeypatch.setenv("DEEPSEG_TOKEN", command.token)
    assert main(["servers", "add", command.url, "--yes", "--fingerprint", command.fingerprint]) == 0
    assert "voxels" in capsys.readouterr().out
    assert main(["models", "list", "--server", command.url]) == 0 and "ct_demo" in capsys.readouterr().out
    arguments = ["segment", str(tmp_path / "secret name.nii.gz"), "--server", command.url, "--quality", "draft"]
    assert main([*arguments, "-o", str(tmp_path / "out"), "--surfaces", "", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"upload", "inference", "write"} <= {e.get("stage") for e in events} and events[-1]["event"] == "result"
    with WorkerClient() as local:
        expected = local.call("segment", volume=ct, model="ct_demo", quality="draft", device="cpu")
    found = read_volume(tmp_path / "out" / "segmentation.nii.gz")
    np.testing.assert_array_equal(found.array, expected.label_map.array)
    assert expected.label_map.array.any()
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["model"] == expected.provenance["model"] and provenance["input"]["name"] == "secret name.nii.gz"
    kept = [p for p in (command.folder / "users").rglob("*") if p.is_file()]
    assert kept and not [p for p in kept if b"secret name" in p.read_bytes()]


def test_a_server_that_was_not_saved_gets_nothing(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPSEG_TOKEN", command.token)
    assert main(["segment", str(demo_ct()), "--server", command.url, "-o", str(tmp_path / "out")]) == 2
    assert "nothing is sent" in (told := capsys.readouterr().err) and "deepseg servers add" in told


def test_a_fingerprint_must_be_compared(command, capsys):
    for more in (["--yes"], [], ["--yes", "--fingerprint", "AB:CD"]):
        assert main(["servers", "add", command.url, *more]) == 2
    assert "another certificate" in capsys.readouterr().err
    assert not known.KnownServers().all()


def test_what_the_command_line_cannot_do(command, tmp_path, monkeypatch, capsys):
    known.KnownServers().save(command.url, command.fingerprint)
    arguments = ["segment", str(demo_ct()), "--server", command.url, "-o", str(tmp_path / "out")]
    assert main(arguments) == 2 and "DEEPSEG_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("DEEPSEG_TOKEN", "wrong")
    assert main(arguments) == 2 and "not valid" in capsys.readouterr().err
    monkeypatch.setenv("DEEPSEG_TOKEN", command.token)
    assert main([*arguments, "-m", "no_such"]) == ModelError.exit_code and "It has: ct_demo" in capsys.readouterr().err
    assert main([*arguments, "--device", "cpu"]) == 2 and "its device" in capsys.readouterr().err
    assert main([*arguments, "--roi", "9000,9000,9000,9001,9001,9001"]) == InputError.exit_code
    assert not (tmp_path / "out" / "provenance.json").exists()


def test_tokens_are_made_listed_and_revoked(tmp_path, capsys):
    folder = ["--folder", str(tmp_path)]
    assert main(["tokens", "add", "anna", *folder]) == 0
    assert len(capsys.readouterr().out.strip()) == 32
    assert main(["tokens", "add", "anna", *folder]) == 2
    assert main(["tokens", "list", *folder]) == 0 and capsys.readouterr().out.startswith("anna  20")
    assert main(["tokens", "revoke", "anna", *folder]) == 0 and main(["tokens", "revoke", "anna", *folder]) == 2


def test_two_servers_do_not_share_a_folder(command, capsys):
    assert main(["serve", "--port", "0", "--device", "cpu", "--folder", str(command.folder)]) == 2
    assert "Another server works" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_told_at_the_start(tmp_path, capsys):
    assert main(["serve", "--port", "0", "--device", "cuda:99", "--folder", str(tmp_path)]) == 6
    told = capsys.readouterr()
    assert "GPU" in told.err and "Listening" not in told.out


def test_half_a_certificate_and_none(tmp_path, capsys):
    (tmp_path / "junk.pem").write_text("junk")
    assert main(["serve", "--certificate", str(tmp_path / "junk.pem"), "--device", "cpu"]) == 2
    pair = ["--certificate", str(tmp_path / "junk.pem"), "--key", str(tmp_path / "junk.pem")]
    assert main(["serve", *pair, "--device", "cpu", "--port", "0", "--folder", str(tmp_path)]) == 2
    assert "is not a certificate" in capsys.readouterr().err


def test_the_own_certificate_is_kept_and_its_key_is_private(tmp_path):
    certificate, key = own_certificate(tmp_path / "a")
    before = certificate.read_bytes()
    assert own_certificate(tmp_path / "a")[0].read_bytes() == before
    assert os.name == "nt" or key.stat().st_mode & 0o077 == 0  # Windows has no modes


@needs_openssl
def test_the_fingerprint_of_the_own_certificate_is_openssls(tmp_path):
    from DeepSegLogic.service.certificate import fingerprint

    certificate, _key = own_certificate(tmp_path)
    told = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True
    )
    assert told.stdout.strip().rpartition("=")[2] == fingerprint(certificate)


@needs_openssl
@pytest.mark.parametrize("place", ["-checkhost localhost", "-checkip 127.0.0.1", "-checkip ::1"])
def test_the_own_certificate_is_for_this_machine(place, tmp_path):
    """So that curl with ``--cacert`` takes the address that ``deepseg serve --tls`` prints."""
    command = ["openssl", "x509", "-in", own_certificate(tmp_path)[0], "-noout", *place.split()]
    assert "does match certificate" in subprocess.run(command, capture_output=True, text=True).stdout


def test_a_key_store_that_stays_locked(tmp_path, monkeypatch):
    """Somebody closed the question for its password."""

    class Locked(keyring.backend.KeyringBackend):
        priority = 1

        def get_password(self, service, username):
            raise keyring.errors.KeyringLocked("dismissed")

        def set_password(self, service, username, password):
            raise keyring.errors.KeyringLocked("dismissed")

        delete_password = get_password

    monkeypatch.undo()
    monkeypatch.setattr(known, "_default_path", lambda: tmp_path / "servers.json")
    monkeypatch.delenv("DEEPSEG_TOKEN", raising=False)
    before, url = keyring.get_keyring(), "http://localhost:1"
    keyring.set_keyring(Locked())
    try:
        servers = known.KnownServers()
        servers.save(url, "")
        for use in (servers.connect, lambda url: known.keep_token(url, "secret"), servers.remove):
            with pytest.raises(UsageError, match=r"key store cannot be used \(dismissed\)") as caught:
                use(url)
            assert caught.value.action == "give_token"
        assert not servers.all()
    finally:
        keyring.set_keyring(before)


def test_the_token_lives_in_the_key_store_and_nowhere_else(tmp_path, monkeypatch):
    class Store(keyring.backend.KeyringBackend):
        priority, kept = 1, {}

        def get_password(self, service, username):
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

        def delete_password(self, service, username):
            del self.kept[service, username]

    monkeypatch.undo()
    monkeypatch.setattr(known, "_default_path", lambda: tmp_path / "servers.json")
    monkeypatch.delenv("DEEPSEG_TOKEN", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(Store())
    try:
        servers = known.KnownServers()
        servers.save("http://localhost:1/", "")
        assert known.keep_token("http://localhost:1", "secret") and known.token_of("http://localhost:1") == "secret"
        assert servers.connect("http://localhost:1").connection._token == "secret"
        assert "secret" not in (tmp_path / "servers.json").read_text()
        monkeypatch.setenv("DEEPSEG_TOKEN", "other")
        assert known.token_of("http://localhost:1") == "other"
        servers.remove("http://localhost:1")
        assert not Store.kept and not servers.all()
    finally:
        keyring.set_keyring(before)
    (tmp_path / "servers.json").write_text("[1]")
    with pytest.raises(UsageError, match="damaged"):
        servers.all()
