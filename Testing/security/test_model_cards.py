"""Cards and records of any shape: one that is damaged spoils no other model, and names lead nowhere else."""

import json
import os
import shutil
import sys

import jsonschema
import pytest

from DeepSegLogic.cli import main
from DeepSegLogic.models import find as registry
from DeepSegLogic.models import find_model
from DeepSegLogic.models.card import ModelCard, Part
from DeepSegLogic.models.catalogue import catalogue
from DeepSegLogic.models.find import damaged_models, models_here
from DeepSegLogic.models.import_export import export_model, import_model
from DeepSegLogic.models.store import Store
from DeepSegLogic.models.trust import is_trusted, trust
from DeepSegLogic.session import Session
from DeepSegLogic.session.doctor import examine
from DeepSegLogic.util.errors import ModelError, UsageError
from DeepSegLogic.util.json_schema import faults
from DeepSegLogic.util.resources import resource_path
from Testing.security.hostile_models import CARD, NETWORK, bundle, installed

BAD_FIELDS = [
    {"title": 5},
    {"title": None},
    {"title": "a\x1b[31mb"},
    {"structures": "liver"},
    {"structures": [1]},
    {"structures": {"liver": 1}},
    {"spacing": "wide"},
    {"spacing": [1, 1]},
    {"spacing": [1, 1, float("nan")]},
    {"spacing": [1, 1, float("inf")]},
    {"spacing": [True, True, True]},
    {"orientation": 7},
    {"orientation": "RAA"},
    {"memory_gb": "much"},
    {"size_bytes": "5"},
    {"size_bytes": -1},
    {"notes": "one"},
    {"notes": [{}]},
    {"parts": {}},
    {"parts": [1]},
    {"parts": [{"name": 3}]},
    {"parts": [{"name": "a", "structures": "liver"}]},
    {"parts": [{"name": "a"}, {"name": "A"}]},
    {"parts": [{}, {}]},
    {"network": []},
    {"network": {"architecture": "UNet"}},
    {"network": {"architecture": {"name": {}, "arguments": []}}},
    {"digests": []},
    {"digests": {"a": 1}},
    {"citation": ["a paper"]},
    {"description": {}},
    {"version": 2},
    {"licence": None},
    {"backend": None},
    {"source": 3},
    {"dice": []},
    {"provenance": "here"},
    {"modality": 1},
    {"separate_z": "yes"},
    {"intended_use": []},
]
BAD_IDS = [
    "../../..",
    "../evil",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "C:evil",
    "CON",
    "con.txt",
    "nul",
    "LPT1",
    "com9.zip",
    "a.",
    "a ",
    " a",
    ".hidden",
    "-rf",
    "a\0b",
    "a\nb",
    "a\n",
    "ä",
    "x" * 101,
    "x" * 5000,
]
BAD_TEXTS = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"{",
    b"{}",
    b"\xff\xfe{}",
    b'{"id": "evil"}',
    b"[" * 200_000,
    b'{"id": "evil", "title": "t", "size_bytes": ' + b"9" * 5000 + b"}",
    b'{"id": "someone_else", "title": "t"}',
    b'{"id": "ct_demo", "title": "t"}',
]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    installed(tmp_path / "store", CARD | {"id": "good", "title": "Good"})
    return tmp_path / "store"


def seen_as_damaged(capsys, name="evil"):
    """In all lists the model is damaged, and the others are there."""
    assert name in damaged_models() and {"good", "ct_demo"} - {name} <= set(models_here())
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert caught.value.code == "model.card"
    finding = next(finding for finding in examine() if finding.topic == "Models")
    assert f"{name} (damaged)" in finding.fact and caught.value.message in finding.remedy
    assert main(["models", "list"]) == 0
    printed = capsys.readouterr().out
    assert f"{name} is damaged" in printed and "good" in printed and "total" in printed
    assert main(["models", "search", "liver"]) == 0 and main(["models", "show", "good"]) == 0
    assert main(["models", "show", name]) == main(["models", "verify"]) == 4
    assert "Unexpected error" not in capsys.readouterr().err
    session = Session()
    try:
        (entry,) = (e for e in session.choices.models.all if e.card.id == name)
        assert "(damaged)" in entry.card.title and entry.damage
        session.choices.choose_model(name)
        session.choices.ask_estimate()
        assert session.choices.model.id == name and not session.jobs.waiting
        session.choices.search_models("liver")
        assert any(e.card.id == "good" for e in session.choices.models.all)
    finally:
        session.close()


@pytest.mark.parametrize("bad", BAD_FIELDS, ids=str)
def test_a_field_of_another_kind_makes_a_card_damaged_and_is_named(bad, store):
    place = installed(store, CARD | bad)
    (error,) = Store().broken()
    assert next(iter(bad)) in error.message and "evil" not in models_here() and "good" in models_here()
    with pytest.raises(ModelError):
        import_model(place)
    assert Store().remove("evil") > 0


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:30]))
def test_a_card_of_any_bytes_spoils_no_other_model(text, store, capsys):
    (store / "evil").mkdir()
    (store / "evil" / "card.json").write_bytes(text)
    seen_as_damaged(capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_card_that_is_no_file_is_damaged(kind, store, tmp_path, capsys):
    (store / "evil").mkdir()
    card = store / "evil" / "card.json"
    (tmp_path / "elsewhere.json").write_text(json.dumps(CARD), "utf-8")
    if kind == "link":
        card.symlink_to(tmp_path / "elsewhere.json")
    elif kind == "pipe":
        os.mkfifo(card)
    else:
        card.mkdir()
    seen_as_damaged(capsys)


def test_a_bundled_model_that_is_damaged_spoils_no_other(store, tmp_path, capsys, monkeypatch):
    models = tmp_path / "Models"
    shutil.copytree(resource_path("Models"), models)
    (models / "ct_demo" / "card.json").write_text('{"id": "ct_demo", "title": 3}', "utf-8")
    monkeypatch.setattr(registry, "resource_path", lambda *parts: models)
    assert "ct_demo" in damaged_models() and "good" in models_here()
    with pytest.raises(UsageError, match="comes with DeepSeg"):
        import_model(bundle(tmp_path / "b", tmp_path / "ran"), changes={"id": "ct_demo"})
    with pytest.raises(ModelError):
        find_model("ct_demo")
    assert main(["models", "list"]) == 0 and "ct_demo is damaged" in capsys.readouterr().out


def test_words_that_look_like_markup_are_shown_as_they_are(store, capsys):
    installed(store, CARD | {"title": "[/red] [link=file:///etc]x", "licence": "[bold"})
    assert main(["models", "list"]) == main(["models", "show", "evil"]) == main(["models", "search", "liver"]) == 0
    assert "[/red]" in capsys.readouterr().out


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_leads_elsewhere_is_refused_everywhere(bad, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = bundle(tmp_path / "lab", tmp_path / "ran")
    before = sorted(tmp_path.rglob("*"))
    (folder / "card.json").write_text(json.dumps(CARD | {"id": bad}), "utf-8")
    for use in (
        lambda: import_model(folder),
        lambda: export_model(find_model(folder), tmp_path / "usb" / "deep" / "er"),
        lambda: main_raising("models", "export", str(folder), "-o", str(tmp_path / "usb")),
    ):
        with pytest.raises((ModelError, UsageError)):
            use()
    (folder / "card.json").unlink()
    with pytest.raises(UsageError):
        import_model(folder, changes={"id": bad})
    card = ModelCard(bad, "Made by hand", folder=folder)
    with pytest.raises(UsageError):
        export_model(card, tmp_path / "usb")
    with pytest.raises(UsageError):
        Store().remove(bad)
    assert Store().find(bad) is None
    left = [p for p in sorted(tmp_path.rglob("*")) if p not in before and store not in p.parents and p != store]
    assert left == []


def main_raising(*words):
    code = main(list(words))
    if code:
        raise ModelError(f"ended with {code}")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/..%2F..%2Fevil.zip",
        "https://example.org/%2e%2e",
        "https://example.org/",
        "https://example.org/CON.zip",
        "https://example.org/a%00.zip",
        "https://example.org/a%5C..%5Cb.zip",
    ],
)
def test_the_name_of_a_download_leads_nowhere_else(address):
    with pytest.raises(ModelError):
        Store().archive_path(Part(url=address))


SCHEMA = json.loads(resource_path("Schemas", "model_card.schema.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "change", [*BAD_FIELDS, *({"id": bad} for bad in BAD_IDS), {}, {"more": 1}, {"size_bytes": 5.0}]
)
def test_cards_are_judged_as_by_jsonschema(change):
    card = CARD | {"network": NETWORK, "parts": [{"name": "a"}], "digests": {}, "memory_gb": 2} | change
    for data in (card, {k: v for k, v in card.items() if k != "title"}, [card], None, 5, "text"):
        expected = jsonschema.Draft202012Validator(SCHEMA).is_valid(data)
        assert (next(faults(data, SCHEMA, SCHEMA), None) is None) == expected


def test_the_cards_that_come_with_us_follow_the_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for card in catalogue():
        assert ModelCard.from_json(json.loads(json.dumps(card.to_json()))).to_json() == card.to_json()
    assert find_model("ct_demo").to_json()["structures"]


KNOWN = [
    b"",
    b"[]",
    b"null",
    b"7",
    b"\xff",
    b"[" * 200_000,
    b'{"trusted": []}',
    b'{"trusted": "sha256:"}',
    b'{"trusted": {"a": 1}}',
    b'{"archives": {"https://example.org/a.zip": "md17:x"}}',
    b'{"archives": {"a": null}, "trusted": {}}',
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda text: repr(text[:30]))
def test_records_of_another_shape_trust_nothing_are_told_and_kept(known, store, tmp_path):
    card = import_model(bundle(tmp_path / "lab", tmp_path / "ran"))
    (store / "known.json").write_bytes(known)
    assert not is_trusted(card) and Store().recorded("archives") == {}
    finding = next(finding for finding in examine() if finding.topic == "Models")
    assert "known.json" in finding.remedy and "lab" in finding.fact
    assert main(["models", "list"]) == 0
    trust(card)
    assert is_trusted(card) and (store / "known.damaged.json").read_bytes() == known


def test_a_record_whose_text_holds_every_digest_trusts_none(store, tmp_path):
    card = import_model(bundle(tmp_path / "lab", tmp_path / "ran"))
    digest = trust(card)
    (store / "known.json").write_text(json.dumps({"trusted": f"all of {digest}"}), "utf-8")
    assert not is_trusted(card)


def test_what_no_publisher_states_is_said(capsys):
    lacking = [card for card in catalogue() if any(part.digest is None for part in card.parts)]
    assert lacking and all("not stated by the publisher" in card.unstated_digests for card in lacking)
    assert not any(card.unstated_digests for card in catalogue() if card not in lacking)
    assert main(["models", "show", lacking[0].id]) == 0
    assert "not stated by the publisher" in " ".join(capsys.readouterr().out.split())
