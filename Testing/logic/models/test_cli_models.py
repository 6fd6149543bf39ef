"""`deepseg models` as a user types it."""

import json

import pytest
import typer
from typer.testing import CliRunner

from DeepSegLogic.cli.console import Console
from DeepSegLogic.cli.models import app, obtain
from DeepSegLogic.cli.remedies import WORDS
from DeepSegLogic.models import find as registry
from DeepSegLogic.models import install as fetch
from DeepSegLogic.models.card import ModelCard, Part
from DeepSegLogic.models.crop import Crop
from DeepSegLogic.util.errors import Cancelled, ModelError


@pytest.fixture
def deepseg():
    """Runs a command; returns (what it printed, the error it raised)."""

    def run(*arguments, input=None):
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=input)
        return result.stdout, result.exception

    return run


def events(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def small(site, nnunet_folder, zip_of, tmp_path, monkeypatch):
    site.files["small.zip"] = zip_of(nnunet_folder(tmp_path / "small", ["liver"]))
    card = ModelCard("small", "A small one", licence="Apache-2.0", structures=["liver"], source="https://example.com")
    card.parts = [Part(url=site.url("small.zip"), size_bytes=len(site.files["small.zip"]))]
    for module in (fetch, registry):
        monkeypatch.setattr(module, "in_catalogue", lambda name: card if name == card.id else None)
    monkeypatch.setattr("DeepSegLogic.models.catalogue.in_catalogue", lambda name: card if name == card.id else None)
    return card


def test_list_shows_the_catalogue_and_where_models_are_kept(deepseg, own_store):
    text, error = deepseg("list")
    assert error is None and "total_fast" in text and "Apache-2.0" in text and "research use" in text
    entries = events(deepseg("list", "--json")[0])
    assert {e["id"]: e["installed"] for e in entries}["total"] is False
    assert deepseg("list", "--quiet")[0] == ""


def test_search_says_which_structures_were_found(deepseg):
    entries = events(deepseg("search", "portal", "vein", "--json")[0])
    assert all(any("portal" in s for s in e["found"]) for e in entries) and len(entries) > 5
    assert "all of these" in deepseg("search", "which model gives me kidney and tumour?")[0]
    assert "any of these" in deepseg("search", "xyzzy")[0]


def test_show_tells_licence_citation_and_size(deepseg):
    text, _ = deepseg("show", "total")
    for fact in ("Apache-2.0", "Wasserthal", "1.5 × 1.5 × 1.5 mm", "117 structures", "Research use only", "1.1 GB"):
        assert fact in text
    assert events(deepseg("show", "total", "--json")[0])[0]["parts"][4]["name"] == "ribs"
    assert isinstance(deepseg("show", "nonsense")[1], ModelError)


def test_the_bundled_model_is_neither_removed_nor_verified(deepseg, own_store):
    assert "comes with DeepSeg" in str(deepseg("remove", "ct_demo", "--yes")[1])
    assert "Nothing to verify" in deepseg("verify")[0]


def test_a_models_life(deepseg, small, tmp_path):
    text, error = deepseg("download", "small", "--yes")
    assert error is None and "small is in" in text
    assert [e["id"] for e in events(deepseg("list", "--installed", "--json")[0]) if e["id"] == "small"]
    assert "as installed" in deepseg("verify")[0]
    exported = events(deepseg("export", "small", "-o", tmp_path, "--json")[0])[-1]
    assert exported["file"] == str(tmp_path / "small.deepseg.zip")
    assert isinstance(deepseg("remove", "small")[1], Cancelled)  # nobody there to ask
    assert "Deleted small" in deepseg("remove", "small", "--yes")[0]
    text, error = deepseg("import", exported["file"])
    assert error is None and "whom to cite" in text
    (tmp_path / "store" / "small" / "plans.json").write_text("{}", "utf-8")
    text, error = deepseg("verify", "small")
    assert "plans.json has changed" in text and error.code == "model.corrupted"


def test_import_takes_what_the_files_do_not_say(deepseg, nnunet_folder, tmp_path):
    folder = nnunet_folder(tmp_path / "lab", ["liver"])
    (tmp_path / "card.json").write_text('{"citation": "Our paper", "modality": "CT"}', "utf-8")
    _, error = deepseg("import", folder, "--id", "ours", "--licence", "CC-BY-4.0", "--card", tmp_path / "card.json")
    assert error is None
    card = registry.find_model("ours")
    assert (card.licence, card.citation) == ("CC-BY-4.0", "Our paper")


def test_size_and_licence_are_shown_before_a_download(small, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *args, **options: False)
    with pytest.raises(Cancelled):
        obtain(Console(), "small", yes=False)
    shown = capsys.readouterr().err
    assert "Apache-2.0" in shown and "kB" in shown and "Research use only" in shown
    assert obtain(Console(quiet=True), "small", yes=True).folder


def test_where_nobody_can_be_asked_the_error_says_what_to_do(small, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ModelError) as caught:
        obtain(Console(), "small", yes=False)
    remedy = caught.value.remedy_in(WORDS)
    assert "deepseg models download small" in remedy and small.parts[0].url in remedy


@pytest.fixture
def pair(small, site, nnunet_folder, zip_of, tmp_path, monkeypatch):
    """A model in the catalogue that sees a region which ``small`` finds."""
    site.files["inner.zip"] = zip_of(nnunet_folder(tmp_path / "inner", ["vessels"]))
    card = ModelCard(
        "inner", "Vessels of the liver", licence="MIT", structures=["vessels"], crop=Crop("small", ("liver",))
    )
    card.parts = [Part(url=site.url("inner.zip"), size_bytes=len(site.files["inner.zip"]))]
    for module in (fetch, registry):
        monkeypatch.setattr(module, "in_catalogue", {"inner": card, "small": small}.get)
    return card


def test_the_model_that_finds_the_region_is_offered_too(pair, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = [True, False]
    monkeypatch.setattr(typer, "confirm", lambda *args, **options: answers.pop(0))
    with pytest.raises(Cancelled, match="small"):
        obtain(Console(), "inner", yes=False)
    shown = capsys.readouterr().err
    assert "small is not on this machine: A small one. inner needs it." in shown
    assert "MIT" in shown and "Apache-2.0" in shown and shown.count("kB") == 2
    assert registry.models_here().keys() == {"ct_demo"}  # nothing was downloaded before all was answered
    assert obtain(Console(quiet=True), "inner", yes=True).folder and registry.find_model("small").folder
    registry.Store().remove("small")
    assert obtain(Console(quiet=True), "inner", yes=True).id == "inner" and registry.find_model("small").folder


def test_a_lacking_helper_is_named_where_nobody_can_be_asked(pair, monkeypatch):
    obtain(Console(quiet=True), "inner", yes=True)
    registry.Store().remove("small")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ModelError, match=r"inner needs the model small \(A small one\), which") as caught:
        obtain(Console(), "inner", yes=False)
    assert "deepseg models download small" in caught.value.remedy_in(WORDS)


def test_show_tells_what_region_a_model_sees(deepseg):
    assert "liver, found by total_fastest, and 20 mm around" in " ".join(deepseg("show", "liver_vessels")[0].split())
