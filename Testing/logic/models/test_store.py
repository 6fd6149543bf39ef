"""The store: models appear whole or not at all, are checked, carried and removed."""

import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from DeepSegLogic.cohort import case
from DeepSegLogic.models import find as registry
from DeepSegLogic.models import find_model, load_model, provenance
from DeepSegLogic.models import install as fetch
from DeepSegLogic.models.card import ModelCard
from DeepSegLogic.models.import_export import export_model, import_model
from DeepSegLogic.models.install import download_model, ensure_model
from DeepSegLogic.models.store import Store, disk_use, verify
from DeepSegLogic.session import doctor
from DeepSegLogic.session.doctor import examine
from DeepSegLogic.util.errors import Cancelled, DeepSegError, ModelError, OutputError


def nothing_but(store, *names):
    left = {p.name for p in store.rglob("*") if p.is_file() and ".locks" not in p.parts}
    return left == set(names)


def test_the_store_is_where_the_user_or_the_platform_says(monkeypatch, tmp_path):
    assert Store().root == tmp_path / "store"
    monkeypatch.delenv("DEEPSEG_MODELS")
    assert Store().root.parts[-2:] == ("DeepSeg", "models") and Store().root.is_absolute()
    assert Store(tmp_path / "other").root == tmp_path / "other"


def test_a_download_is_installed_whole_with_its_digests(single, own_store):
    card = download_model(single)
    assert find_model("single").folder == card.folder == own_store / "single"
    assert sorted(card.digests) == ["dataset.json", "fold_0/checkpoint_final.pth", "plans.json"]
    assert verify(card) == []
    assert card.size_bytes == disk_use(card.folder) - (card.folder / "card.json").stat().st_size
    assert load_model(card).labels == {1: "liver", 2: "spleen"}
    assert list((own_store / "downloads").iterdir()) == []


def test_the_catalogue_stays_as_it_was(single):
    download_model(single)
    assert single.digests == {} and single.folder is None


def test_a_store_that_cannot_be_written_is_named(single, own_store):
    own_store.write_text("a file", "utf-8")
    with pytest.raises(OutputError, match="store"):
        download_model(single)


def test_a_disk_that_fills_up_while_unpacking_is_said(single, own_store, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "extract", full)
    with pytest.raises(DeepSegError, match="disk is full"):
        download_model(single)
    assert Store().installed() == []


def test_what_is_installed_is_not_fetched_again(single, site):
    download_model(single)
    count = len(site.requests)
    download_model(single)
    assert len(site.requests) == count


def test_a_user_is_asked_and_may_decline(single, site):
    asked = []
    with pytest.raises(Cancelled):
        ensure_model("single", lambda card: asked.append(card.licence))
    assert asked == ["Apache-2.0"] and site.requests == []
    assert ensure_model("single", lambda card: True).folder
    assert ensure_model("single", lambda card: pytest.fail("asked twice")).id == "single"


def test_offline_the_error_says_what_to_bring_where(whole, site, own_store):
    site.close()
    with pytest.raises(ModelError) as caught:
        ensure_model("whole", lambda card: True)
    for part in whole.parts:
        assert part.url in caught.value.remedy
    assert str(own_store / "downloads") in caught.value.remedy
    with pytest.raises(ModelError) as caught:
        find_model("whole")
    assert caught.value.code == "model.not_installed" and str(own_store / "downloads") in caught.value.remedy


def test_archives_brought_by_hand_need_no_network(whole, site, own_store, tmp_path):
    for part in whole.parts:
        (tmp_path / f"{part.name}.zip").write_bytes(site.files[f"{part.name}.zip"])
    site.close()
    with pytest.raises(ModelError, match="also needs") as caught:
        import_model(tmp_path / "organs.zip")
    assert caught.value.code == "model.incomplete" and Store().find("whole") is None
    card = import_model(tmp_path / "bones.zip")
    assert card.id == "whole" and (card.folder / "organs" / "plans.json").is_file()


def test_a_broken_part_leaves_nothing_and_is_fetched_again(whole, site, own_store):
    good = site.files["bones.zip"]
    site.files["bones.zip"] = good[:-100]
    with pytest.raises(ModelError, match="not a complete zip"):
        download_model(whole)
    assert Store().find("whole") is None and nothing_but(own_store, "organs.zip", "known.json")
    site.files["bones.zip"] = good
    download_model(whole)
    assert [path for path, _ in site.requests].count("/organs.zip") == 1


def test_a_file_changed_at_its_source_is_refused_ever_after(single, site, networks, zip_of):
    download_model(single)
    Store().remove("single")
    (networks["organs"] / "plans.json").write_text(
        (networks["organs"] / "plans.json").read_text("utf-8").replace("Small", "Other"), "utf-8"
    )
    site.files["organs.zip"], site.etag = zip_of(networks["organs"]), '"two"'
    with pytest.raises(ModelError, match="not the one that was first downloaded") as caught:
        download_model(single)
    assert caught.value.code == "model.digest" and Store().find("single") is None


def test_a_digest_of_the_catalogue_is_checked(single, monkeypatch):
    wrong = ModelCard.from_json({**single.to_json(), "parts": [{"url": single.parts[0].url, "digest": "sha1:00"}]})
    with pytest.raises(ModelError, match="published"):
        download_model(wrong)


@pytest.mark.parametrize("missing", ["fold_0/checkpoint_final.pth", "plans.json"])
def test_an_archive_without_its_checkpoint_is_refused(single, site, networks, zip_of, missing):
    (networks["organs"] / missing).unlink()
    site.files["organs.zip"] = zip_of(networks["organs"])
    with pytest.raises(ModelError):
        download_model(single)
    assert Store().find("single") is None


def test_a_network_of_other_structures_is_refused(single, site, networks, zip_of):
    site.files["organs.zip"] = zip_of(networks["bones"])
    with pytest.raises(ModelError, match="marks 3 structures"):
        download_model(single)


def test_of_two_trainings_in_one_archive_that_with_the_default_plans_is_installed(single, site, networks, zip_of):
    """As in the archives of TotalSegmentator's version 3."""
    trainings = networks["organs"].parent
    for name, plans in (("organs", "nnUNetPlans"), ("bones", "nnUNetResEncUNetLPlans_8")):
        networks[name].rename(trainings / f"nnUNetTrainerNoMirroring__{plans}__3d_fullres")
    site.files["organs.zip"] = zip_of(trainings, "Dataset901/")
    assert load_model(download_model(single)).labels == {1: "liver", 2: "spleen"}


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(
    single, site, networks, zip_of, tmp_path, monkeypatch
):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    checkpoint = networks["organs"] / "fold_0" / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "init_args": Evil()}, checkpoint)
    site.files["organs.zip"] = zip_of(networks["organs"])
    with pytest.raises(ModelError, match="code"):
        download_model(single)
    checkpoint.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError):
        import_model(networks["organs"])
    assert not (tmp_path / "evil").exists() and Store().installed() == []
    pickle.loads(checkpoint.read_bytes())  # the trap is a real one
    assert (tmp_path / "evil").exists()


def program(whole, trap="") -> list[str]:
    """Another process that downloads the model."""
    source = f"""
        import json, os, signal
        from DeepSegLogic.models import install as fetch
        from DeepSegLogic.models.card import ModelCard
        from DeepSegLogic.models.store import Store
        def die(*args, **options):
            os.kill(os.getpid(), signal.SIGKILL)
        {trap}
        print(fetch.download_model(ModelCard.from_json(json.loads({json.dumps(whole.to_json())!r}))).folder)
    """
    return [sys.executable, "-c", textwrap.dedent(source)]


def test_two_programs_at_once_fetch_it_once(whole, site):
    site.delay_s = 0.01
    both = [subprocess.Popen(program(whole), stdout=subprocess.PIPE, encoding="utf-8") for _ in range(2)]
    folders = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(folders) == 1
    assert sorted(path for path, _ in site.requests) == ["/bones.zip", "/organs.zip"]
    assert verify(find_model("whole")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "trap", ["fetch.extract = die", "fetch.place = die", "Store.install = die", "Store.record = die"]
)
def test_killed_at_any_moment_the_next_call_goes_on(whole, site, own_store, trap):
    assert subprocess.run(program(whole, trap), stdout=subprocess.DEVNULL).returncode == -9
    assert Store().find("whole") is None and Store().installed() == []
    before = len(site.requests)
    assert verify(download_model(whole)) == []
    assert len(site.requests) == before == 2  # what had come was kept
    assert not any((own_store / ".staging").iterdir())


def test_waiting_for_another_program_can_be_cancelled(single):
    with Store().lock("single"), pytest.raises(Cancelled):
        download_model(single, cancel=lambda: True)


def test_changes_are_found(single):
    card = download_model(single)
    (card.folder / "plans.json").write_text("{}", "utf-8")
    (card.folder / "dataset.json").unlink()
    (card.folder / "extra.py").write_text("", "utf-8")
    assert sorted(verify(card)) == [
        "dataset.json is missing.",
        "extra.py was not part of the model.",
        "plans.json has changed.",
    ]
    with pytest.raises(ModelError, match="not exported"):
        export_model(card, card.folder.parent)


def test_a_broken_card_spoils_no_other_model_and_can_be_removed(single, own_store):
    card = download_model(single)
    (card.folder / "card.json").write_text('{"id": "single", ', "utf-8")  # a slip of the hand
    assert Store().installed() == [] and "ct_demo" in registry.models_here()
    (error,) = Store().broken()
    remedies = " ".join(finding.remedy for finding in examine())
    assert str(card.folder / "card.json") in error.message and error.message in remedies
    with pytest.raises(ModelError, match="cannot be used"):
        find_model("single")
    Store().remove("single")
    assert verify(download_model(single)) == []


def test_removing_frees_the_disk(single, own_store):
    size = disk_use(download_model(single).folder)
    assert Store().remove("single") == size
    assert not (own_store / "single").exists() and nothing_but(own_store, "known.json")
    with pytest.raises(ModelError):
        Store().remove("single")


def test_the_doctor_says_that_the_disk_of_the_models_is_not_there(monkeypatch):
    """On Windows a drive letter may lead nowhere."""
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    check = doctor._memory()[-1]
    assert check.topic == "Model folder" and check.fact.endswith("is not there") and "DEEPSEG_MODELS" in check.remedy


def test_a_model_that_is_installed_again_is_loaded_again(tmp_path, monkeypatch):
    """By workers that live for weeks; also where only a model that it needs is another one now."""
    cards, loads = [], []
    for name in ("organ", "helper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").touch()
        cards.append(ModelCard(name, name, folder=tmp_path / name))
    monkeypatch.setattr(provenance, "chain", lambda card, find=None: cards)
    monkeypatch.setattr(provenance, "digest_of", lambda card: card.id)
    monkeypatch.setattr(case, "find_model", lambda name: cards[0])
    monkeypatch.setattr(case, "load_model", lambda card: loads.append(card.id) or SimpleNamespace(card=card))
    for changed in ("", "", "organ", "helper", ""):
        if changed:
            os.utime(tmp_path / changed / "weights", (2e9, 2e9))
        case._here(case.Settings(tmp_path / "out", "organ"), case.Signals(tmp_path))
    assert loads == ["organ"] * 3
