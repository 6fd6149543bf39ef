"""An archive: a real Orthanc; and servers that cut connections, lie, or are not who they say."""

import datetime
import errno
import ipaddress
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dicom_series
import orthanc
import pydicom
import pytest

from DeepSegLogic import measure, read_volume, write_dicom_seg, write_measurement_report, write_rtstruct
from DeepSegLogic.cli import main
from DeepSegLogic.io.dicom import web_archive
from DeepSegLogic.io.dicom.archive_settings import ArchiveSettings
from DeepSegLogic.io.dicom.web_archive import Archive
from DeepSegLogic.util.errors import Cancelled, InputError, OutputError, ResourceError, UsageError

pytest.importorskip("dicomweb_client", reason='needs dicomweb-client (pip install -e ".[archive]")')


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(web_archive, "_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as url:
        yield url


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return dicom_series.write_series(tmp_path_factory.mktemp("web") / "ct", StudyDescription="Abdomen")


@pytest.fixture
def archive(address):
    return Archive(ArchiveSettings(address, user=orthanc.USER, password=orthanc.PASSWORD))


def by_uid(folder):
    return {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}


def test_send_find_fetch_results_and_all(archive, series, tmp_path):
    """A series, then SEG, RTSTRUCT and SR of it; twice, by two at once; and fetched again unchanged."""
    senders = [threading.Thread(target=archive.send, args=(sorted(series.iterdir()),)) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    (found,) = archive.find(patient="P1", modality="CT")
    assert (found.date, found.description, found.images) == ("20240102", "Abdomen", 12)
    told = []
    fetched = archive.fetch(found.series, tmp_path / "fetched", progress=lambda *step: told.append(step))
    assert told[-1] == ("fetch", 1.0, "12 of 12")
    before, after = by_uid(series), by_uid(fetched)
    assert before.keys() == after.keys() and all(before[uid] == after[uid] for uid in before)
    volume = read_volume(fetched)
    assert volume == read_volume(series)

    labels, out = dicom_series.organs(volume.ijk_to_ras), tmp_path / "out"
    write_rtstruct(labels, out / "organs.rtstruct.dcm", source=fetched)
    if pytest.importorskip("highdicom"):
        write_dicom_seg(labels, out / "organs.seg.dcm", source=fetched)
        write_measurement_report(measure(labels, volume), labels, out / "organs.sr.dcm", source=fetched)
    assert archive.send(sorted(out.iterdir())) == 3
    kinds = {one.modality: one for one in archive.find(study=found.study)}
    assert set(kinds) == {"CT", "SEG", "RTSTRUCT", "SR"}
    for kind, name in (("SEG", "seg"), ("RTSTRUCT", "rtstruct"), ("SR", "sr")):
        (back,) = by_uid(archive.fetch(kinds[kind].series, tmp_path / kind)).values()
        assert back == pydicom.dcmread(out / f"organs.{name}.dcm")


def test_the_command_line(address, archive, series, tmp_path, monkeypatch, capfd):
    archive.send(sorted(series.iterdir()))
    for name, value in {"URL": address, "USER": orthanc.USER, "PASSWORD": orthanc.PASSWORD}.items():
        monkeypatch.setenv(f"DEEPSEG_PACS_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, code=0):
        assert main(list(arguments)) == code
        return capfd.readouterr()

    found = run("pacs", "find", "--patient", "P1", "--json").out
    (uid,) = [event["series"] for event in map(json.loads, found.splitlines())]
    assert "Test" not in found  # no names
    assert uid in run("pacs", "find", "--patient", "P1").out
    run("pacs", "fetch", uid, "-o", str(tmp_path / "ct"), "--quiet")
    assert read_volume(tmp_path / "ct") == read_volume(series)
    sent = run("pacs", "send", *map(str, (tmp_path / "ct").iterdir()))
    assert "Sent 12 files" in sent.out + sent.err
    run("pacs", "find", code=2)
    monkeypatch.delenv("DEEPSEG_PACS_URL")
    assert "No archive is configured" in run("pacs", "find", "--patient", "P1", code=2).err
    assert "No archive is configured" in run("web", "--archive", code=2).err


def test_a_wrong_login_is_told_without_it(address, series):
    for login in ({"user": orthanc.USER, "password": "wrong-one"}, {"token": "wrong-one"}, {}):
        with pytest.raises(UsageError, match="refuses the login") as refused:
            Archive(ArchiveSettings(address, **login)).find(patient="P1")
        assert "wrong-one" not in str(refused.value) and "wrong-one" not in repr(ArchiveSettings(address, **login))


def test_what_is_not_there_or_not_dicom(archive, series, tmp_path):
    with pytest.raises(InputError, match="has no series"):
        archive.fetch("1.2.3", tmp_path / "a")
    with pytest.raises(InputError, match="not a UID"):
        archive.fetch("../../etc", tmp_path / "a")
    assert archive.find(patient="nobody") == []
    (tmp_path / "note.txt").write_text("no DICOM")
    with pytest.raises(InputError, match="not a DICOM file"):
        archive.send([next(series.iterdir()), tmp_path / "note.txt"])
    with pytest.raises(UsageError, match="not an empty folder"):
        archive.fetch("1.2.3", tmp_path)


def test_what_the_archive_does_not_store_is_told(archive, series, tmp_path):
    image = pydicom.dcmread(next(series.iterdir()))
    image.PatientID, image.SOPInstanceUID = "anonymous", ""
    image.save_as(tmp_path / "a.dcm")
    with pytest.raises(InputError, match=r"refuses .*a\.dcm, which has no SOPInstanceUID"):
        archive.send([tmp_path / "a.dcm"])
    assert archive.find(patient="anonymous") == []


def test_a_full_disk_is_told_as_such_and_leaves_nothing(archive, series, tmp_path, monkeypatch):
    archive.send(sorted(series.iterdir()))
    uid, written = archive.find(patient="P1", modality="CT")[0].series, []
    save = pydicom.Dataset.save_as

    def full(dataset, path, **options):
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        save(dataset, path, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    with pytest.raises(OutputError, match="The disk is full"):
        archive.fetch(uid, tmp_path / "a")
    assert len(written) == 5 and not list(tmp_path.rglob("*.dcm"))


def test_a_cancelled_fetch_leaves_nothing(archive, series, tmp_path):
    archive.send(sorted(series.iterdir()))
    uid, steps = archive.find(patient="P1", modality="CT")[0].series, []
    with pytest.raises(Cancelled):
        archive.fetch(uid, tmp_path / "a", progress=lambda *s: steps.append(s), cancel=lambda: len(steps) > 5)
    assert not (tmp_path / "a").exists()


class Liar(BaseHTTPRequestHandler):
    """An archive of one series that cuts its answers short, at first or always, or sends another image."""

    files, cuts, stated, other = {}, 0, True, False  # by UID; how many answers are cut; with a stated length

    def do_GET(self):
        uid = self.path.rsplit("/", 1)[-1]
        if uid not in self.files:
            first = next(iter(self.files.values()))
            row = {"0020000D": ["UI", first.StudyInstanceUID], "0020000E": ["UI", first.SeriesInstanceUID]}
            rows = [{**row, "00080018": ["UI", u]} for u in self.files] if "instances" in self.path else [row]
            body = json.dumps([{t: {"vr": vr, "Value": [v]} for t, (vr, v) in r.items()} for r in rows]).encode()
            self.answer(body, "application/dicom+json", len(body))
            return
        with self.paths[next(u for u in self.files if u != uid) if self.other else uid].open("rb") as file:
            body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.read() + b"\r\n--x--"
        cut = type(self).cuts > 0
        type(self).cuts -= cut
        sent = body[: len(body) - 3000] if cut else body
        self.answer(sent, 'multipart/related; type="application/dicom"; boundary=x', len(body))

    def answer(self, body, kind, length):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if self.stated:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler, context=None):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("stated", [True, False], ids=["length stated", "no length"])
def test_a_connection_that_is_cut(series, tmp_path, stated):
    paths = {pydicom.dcmread(path).SOPInstanceUID: path for path in series.iterdir()}
    facts = {"files": by_uid(series), "paths": paths, "stated": stated}
    uid = next(iter(facts["files"].values())).SeriesInstanceUID
    with serving(type("Cut", (Liar,), {**facts, "cuts": 2})) as url:  # it comes back
        Archive(ArchiveSettings(url)).fetch(uid, tmp_path / "whole")
    assert read_volume(tmp_path / "whole") == read_volume(series)
    with (
        serving(type("Dead", (Liar,), {**facts, "cuts": 99})) as url,
        pytest.raises(ResourceError, match=r"connection to 127\.0\.0\.1:\d+ failed"),
    ):
        Archive(ArchiveSettings(url)).fetch(uid, tmp_path / "half")
    assert not (tmp_path / "half").exists()
    with serving(type("Mixed", (Liar,), {**facts, "other": True})) as url, pytest.raises(InputError, match="another"):
        Archive(ArchiveSettings(url)).fetch(uid, tmp_path / "half")
    with pytest.raises(ResourceError, match="failed"):  # nobody listens any more
        Archive(ArchiveSettings(url)).find(patient="P1")


def test_an_unknown_certificate_is_refused_until_its_authority_is_given(series, tmp_path):
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = type("Tls", (Liar,), {"files": by_uid(series)})
    with serving(handler, context) as url:
        with pytest.raises(ResourceError, match="is not trusted"):
            Archive(ArchiveSettings(url, token="t")).find(patient="P1")
        assert Archive(ArchiveSettings(url, token="t", ca_file=str(certificate))).find(patient="P1")
    with pytest.raises(InputError):
        Archive(ArchiveSettings(url, ca_file=str(tmp_path / "missing.pem")))


def self_signed(folder):
    """A key and its certificate for 127.0.0.1, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    places = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1), [])
    made = made.add_extension(places, False).add_extension(x509.BasicConstraints(True, None), True)
    signed = made.sign(key, hashes.SHA256())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://pacs.example/dicom-web", "not encrypted"),
        ("ftp://pacs.example", "not an address"),
        ("https://user:word@pacs.example", "not an address"),
        ("pacs", "not an address"),
        ("https://[::1", "not an address"),
    ],
)
def test_unsafe_addresses_are_refused(url, says):
    with pytest.raises(UsageError, match=says):
        Archive(ArchiveSettings(url, token="t"))


def test_answers_that_are_no_dicomweb(tmp_path):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")

        log_message = Liar.log_message

    with serving(Page) as url, pytest.raises(ResourceError, match="not DICOMweb"):
        Archive(ArchiveSettings(url)).find(patient="P1")
