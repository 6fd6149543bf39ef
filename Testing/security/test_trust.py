"""No code of a model runs before it is trusted, whatever its card says and whatever asks for it."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume, write_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import export_model, import_model
from DeepSegLogic.models.store import Store, verify
from DeepSegLogic.models.trust import code_files, is_trusted, needs_trust, trust, trusted_copy
from DeepSegLogic.refinement import prompt_network
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.session import Session
from DeepSegLogic.util.errors import DeepSegError, ModelError
from DeepSegLogic.worker import WorkerClient
from Testing.security.hostile_models import ARCHITECTURE, CARD, NETWORK, bundle, installed, script

pytest.importorskip("monai")

CLAIMS = [
    {"backend": "monai", "network": {"architecture": ARCHITECTURE}},
    {"backend": "monai", "network": {"architecture": {"name": None}}},
    {"backend": "torchscript", "network": NETWORK},
    {"backend": "torchscript", "network": NETWORK | {"guidance": {"sigma": 3}}},
    {"backend": "nnunet", "network": NETWORK},
    {"backend": "nninteractive"},
    {"backend": "something else"},
    {},
]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def read_here(monkeypatch):
    """Volumes are read without a process of their own: no model has a part in that."""
    monkeypatch.setattr("DeepSegLogic.worker.isolated.read_volume", lambda path, **_: read_volume(path))


@pytest.fixture
def mark(tmp_path):
    """What would be there if code had run."""
    return tmp_path / "ran"


@pytest.fixture
def evil(tmp_path, mark):
    return bundle(tmp_path / "bundle", mark)


@pytest.fixture
def volume():
    ct = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    return Volume(ct, np.diag([3.0, 3, 3, 1]))


def refused_everywhere(name, volume, folder):
    """All that may be asked of a model that is not trusted; none of it may work."""
    for use in (
        lambda: load_model(find_model(name)),
        lambda: segment(volume, name, device="cpu", force=True),
        lambda: estimate(volume, name, device="cpu"),
        lambda: prompt_network(name, "cpu"),
    ):
        with pytest.raises(ModelError) as caught:
            use()
        assert caught.value.code in ("model.untrusted", "model.prompts", "model.nninteractive")
    ct = folder / "ct.nii.gz"
    write_volume(volume, ct)
    for words in (
        ["segment", ct, "-o", folder / "out", "--model", name, "--force", "--device", "cpu"],
        ["estimate", ct, "--model", name, "--device", "cpu"],
    ):
        assert main([str(word) for word in words]) != 0
    for words in (["list"], ["search", "liver"], ["show", name], ["verify", name], ["export", name, "-o", folder]):
        main(["models", *map(str, words)])
    main(["doctor"])


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_card_does_not_switch_trust_off(claim, evil, mark, store, volume, tmp_path):
    installed(store, CARD | claim, evil)
    card = find_model("evil")
    assert needs_trust(card) and not is_trusted(card) and card.backend == "monai"
    refused_everywhere("evil", volume, tmp_path)
    refused_everywhere(store / "evil", volume, tmp_path)
    assert not mark.exists()
    trust(card)  # the trap is a real one
    load_model(find_model("evil"))
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
@pytest.mark.parametrize("also", ["model.pt", "plans.json", "inference_info.json", "model.ts"])
def test_a_bundle_that_looks_like_another_model_is_a_bundle(suffix, also, tmp_path, mark, store, volume):
    folder = bundle(tmp_path / "bundle", mark, suffix=suffix)
    (folder / also).write_text("{}", "utf-8")
    (folder / "dataset.json").write_text("{}", "utf-8")
    (folder / "fold_0").mkdir()
    installed(store, CARD | CLAIMS[2], folder)
    with pytest.raises(ModelError) as caught:
        load_model(find_model("evil"))
    assert caught.value.code == "model.untrusted" and not mark.exists()


@pytest.mark.parametrize("claim", CLAIMS)
def test_torchscript_is_a_program_whatever_its_card_says(claim, store, tmp_path, volume):
    folder = installed(store, CARD | {"network": NETWORK} | claim, script(tmp_path / "script"))
    torch.save({}, folder / "model.pt")
    card = find_model("evil")
    assert needs_trust(card) and not is_trusted(card)
    with pytest.raises(ModelError) as caught:
        load_model(card)
    assert caught.value.code == "model.untrusted" or "card" in caught.value.code


def test_torchscript_imported_as_a_state_dict_stays_a_program(store, tmp_path):
    file = script(tmp_path / "script") / "model.ts"
    card = import_model(file.rename(tmp_path / "net.pt"), changes=CARD | {"network": NETWORK})
    assert needs_trust(card)
    with pytest.raises(ModelError, match="trust"):
        load_model(card)


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_imported_bundle_is_not_run_by_its_import(claim, evil, mark, store, volume, tmp_path):
    (evil / "card.json").write_text(json.dumps(CARD | claim), "utf-8")
    card = import_model(evil)
    assert needs_trust(card) and not is_trusted(card)
    refused_everywhere("evil", volume, tmp_path)
    assert not mark.exists()


def test_a_bundle_as_part_of_a_model_must_be_trusted(evil, mark, store, volume, tmp_path):
    other = bundle(tmp_path / "other", tmp_path / "other ran")
    names = ["liver", "spleen", "aorta", "colon"]
    parts = [{"name": "a", "structures": names[:2]}, {"name": "b", "structures": names[2:]}]
    whole = installed(store, CARD | CLAIMS[4] | {"structures": names, "parts": parts})
    evil.rename(whole / "a")
    other.rename(whole / "b")
    card = find_model("evil")
    assert needs_trust(card) and not is_trusted(card)
    with pytest.raises(ModelError) as caught:
        segment(volume, "evil", device="cpu", force=True)
    assert caught.value.code == "model.untrusted" and not mark.exists()
    trust(card)
    assert is_trusted(card)
    (whole / "b" / "scripts" / "net.py").write_text("import os", "utf-8")
    assert not is_trusted(card)
    model = load_model(card)
    first, second = model.cards_for(["liver", "aorta"])
    assert model.part(first).networks
    with pytest.raises(ModelError, match="trust"):
        model.part(second)


@pytest.mark.parametrize("name", ["../bundle", "..", "/tmp", "a/../../bundle", "C:\\bundle", "con", "a\0", "a\n", ""])
def test_parts_do_not_lead_elsewhere(name, evil, mark, store, volume):
    parts = [{"name": name, "structures": ["liver"]}, {"name": "b", "structures": ["spleen"]}]
    installed(store, CARD | {"parts": parts})
    with pytest.raises(ModelError) as caught:
        segment(volume, "evil", device="cpu", force=True)
    assert caught.value.code == "model.card" and not mark.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_refused_everywhere_in_a_model(evil, mark, store, volume, tmp_path):
    part = [{"name": "a", "structures": ["liver"]}, {"name": "b", "structures": ["spleen"]}]
    place = installed(store, CARD | {"id": "parts", "parts": part})
    (place / "a").symlink_to(evil)
    with pytest.raises(ModelError, match="link"):
        load_model(find_model("parts")).cards_for(["liver"])
    outside = tmp_path / "outside"
    (evil / "scripts").rename(outside)
    (evil / "scripts").symlink_to(outside)
    for use in (import_model, lambda folder: trust(find_model(folder)), lambda folder: load_model(find_model(folder))):
        with pytest.raises(ModelError):
            use(evil)
    (evil / "scripts").unlink()
    outside.rename(evil / "scripts")
    (tmp_path / "secret").write_text("secret", "utf-8")
    for name in ("LICENSE", "notes.txt"):
        (evil / name).symlink_to(tmp_path / "secret")
        with pytest.raises(ModelError, match="link"):
            import_model(evil)
        (evil / name).unlink()
    os.mkfifo(evil / "pipe")
    with pytest.raises(ModelError, match="link or a device"):
        import_model(evil)
    assert Store().installed() == [] and not mark.exists()


def test_trust_outlives_runs_and_nothing_is_written_beside_the_model(evil, mark, volume):
    card = import_model(evil)
    before = {path.relative_to(card.folder) for path in card.folder.rglob("*")}
    trust(card)
    paths, modules = list(sys.path), {name for name in sys.modules if name.split(".")[0] == "scripts"}
    for _ in range(2):
        load_model(card)
        segment(volume, card.id, device="cpu", force=True)
    assert mark.exists() and is_trusted(card) and verify(card) == []
    assert {path.relative_to(card.folder) for path in card.folder.rglob("*")} == before
    assert sys.path == paths and {n for n in sys.modules if n.split(".")[0] == "scripts"} == modules


def test_bytecode_beside_a_model_is_no_part_of_it_and_never_run(evil, mark, tmp_path):
    card = import_model(evil)
    trust(card)
    planted = tmp_path / "planted"
    source = tmp_path / "net.py"
    source.write_text(f"__import__('os').mkdir({str(planted)!r})", "utf-8")
    import py_compile

    original = card.folder / "scripts" / "net.py"
    cache = card.folder / "scripts" / "__pycache__" / f"net.{sys.implementation.cache_tag}.pyc"
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH  # taken for the source without a look at it
    py_compile.compile(str(source), str(cache), str(original), invalidation_mode=unchecked)
    py_compile.compile(str(source), str(card.folder / "scripts" / "extra.pyc"), invalidation_mode=unchecked)
    assert is_trusted(card) and verify(card) == []
    load_model(card)
    assert not planted.exists()
    moved = import_model(export_model(card, tmp_path / "usb"), replace_installed=True)
    assert not list(moved.folder.rglob("*.pyc")) and is_trusted(moved)


def test_what_is_loaded_is_what_was_looked_at(evil, mark, tmp_path):
    card = import_model(evil)
    trust(card)
    with trusted_copy(card) as folder:
        (card.folder / "scripts" / "net.py").write_text("evil", "utf-8")
        assert "Conv3d" in (folder / "scripts" / "net.py").read_text("utf-8")
        if os.name == "posix":
            assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    with pytest.raises(ModelError, match="trust"), trusted_copy(card):
        pass


def test_a_bundle_gets_its_own_modules_not_those_of_another(tmp_path, mark):
    first = import_model(bundle(tmp_path / "first", mark))
    other = bundle(tmp_path / "second", tmp_path / "second ran")
    text = (other / "scripts" / "net.py").read_text("utf-8").replace("Conv3d", "ConvTranspose3d")
    (other / "scripts" / "net.py").write_text(text, "utf-8")
    state = torch.nn.ConvTranspose3d(1, 3, 1).state_dict()
    torch.save(state, other / "models" / "model.pt")
    second = import_model(other)
    trust(first), trust(second)
    assert [type(load_model(card).networks[0]).__bases__[0].__name__ for card in (first, second)] == [
        "Conv3d",
        "ConvTranspose3d",
    ]


@pytest.mark.parametrize("names", ["a\nsha256:0 b", "a\x1b[31m"])
def test_names_that_could_forge_a_list_of_digests_are_refused(names, evil):
    (evil / names).write_text("x", "utf-8")
    with pytest.raises(ModelError, match="cannot be shown"):
        trust(find_model(evil))


def test_the_worker_runs_nothing_of_it(evil, mark, store, volume):
    with WorkerClient(grace=120) as client:
        assert client.call("import_model", path=str(evil)) == "bundle"
        card = json.loads((store / "bundle" / "card.json").read_text("utf-8"))
        (store / "bundle" / "card.json").write_text(json.dumps(card | CLAIMS[0]), "utf-8")
        for request, options in (
            ("estimate", {"shape": [20, 20, 20], "ijk_to_ras": volume.ijk_to_ras}),
            ("segment", {"volume": volume, "force": True}),
        ):
            with pytest.raises(DeepSegError) as caught:
                client.call(request, model="bundle", device="cpu", **options)
            assert caught.value.code == "model.untrusted"
    assert not mark.exists()


def test_the_session_imports_chooses_and_estimates_without_running_it(evil, mark, volume):
    (evil / "card.json").write_text(json.dumps(CARD | CLAIMS[0]), "utf-8")
    session = Session(WorkerClient(grace=120))
    try:
        session.choices.set_volume(volume)
        session.choices.set_device("cpu")
        session.choices.import_model(evil)
        wait(session, lambda: session.choices.model is not None and session.choices.model.id == "evil")
        session.choices.ask_estimate()
        wait(session, lambda: any("trust" in note.text for note in session.choices.input.preflight.notes))
        session.choices.set_force(True)
        session.segment()
        wait(session, lambda: not session.jobs.run.busy)
        assert session.jobs.run.error.code == "model.untrusted" and session.choices.estimate is None
    finally:
        session.close()
    assert not mark.exists()


def wait(session, wanted):
    deadline = time.monotonic() + 120
    while not wanted():
        assert time.monotonic() < deadline, session.jobs.log
        session.poll()
        time.sleep(0.02)


def test_the_command_line_as_users_start_it_runs_nothing(evil, mark, store, tmp_path):
    """In a process of its own, with the model's folder as working directory."""
    installed(store, CARD | CLAIMS[0], evil)
    for words in (["models", "list"], ["models", "show", "evil"], ["doctor"]):
        program = [sys.executable, "-c", "import sys; from DeepSegLogic.cli import run; sys.exit(run())", *words]
        done = subprocess.run(program, capture_output=True, encoding="utf-8", env=os.environ | environment())
        assert "Traceback" not in done.stderr
    assert not mark.exists()


def environment():
    import DeepSegLogic

    return {"PYTHONPATH": str(os.path.dirname(os.path.dirname(DeepSegLogic.__file__)))}  # noqa: PTH120


def test_the_files_with_code_are_named(evil, tmp_path):
    """Of a bundle its configuration and its scripts, of each part of a model; of a program the program."""
    (evil / "scripts").mkdir(exist_ok=True)
    (evil / "scripts" / "net.py").touch()
    (evil / "docs").mkdir(exist_ok=True)
    (evil / "docs" / "README.md").touch()
    card = find_model(str(evil))
    named = {path.as_posix() for path in code_files(card)}
    assert "scripts/net.py" in named and any(name.startswith("configs/") for name in named)
    assert all(name.startswith("configs/") or name.endswith(".py") for name in named)
    assert named <= {path.relative_to(evil).as_posix() for path in evil.rglob("*")}
