"""The files in a folder decide which backend a model is of, and whether it can run code."""

import sys
from itertools import combinations
from types import MappingProxyType, ModuleType

import pytest

from DeepSegLogic.models import ModelCard, find_model, load_model
from DeepSegLogic.models import backends as table
from DeepSegLogic.models.backends import backends, code_in, kind_of
from DeepSegLogic.models.backends.contract import Backend
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.model import Model
from DeepSegLogic.models.recognise import recognise
from DeepSegLogic.models.trust import needs_trust
from DeepSegLogic.util.errors import ModelError

# As docs/models.md lists them: of several the first one counts. The second says whether it can run code.
MARKS = {
    "configs": ("monai", True),
    "model.ts": ("torchscript", True),
    "inference_info.json": ("nninteractive", False),
    "inference_session_class.json": ("nninteractive", False),
    "plans.json": ("nnunet", False),
    "model.pt": ("torchscript", False),
}
SOME = [marks for count in range(1, len(MARKS) + 1) for marks in combinations(MARKS, count)]


@pytest.mark.parametrize("marks", SOME, ids="+".join)
def test_of_several_kinds_the_one_that_can_run_code_counts(marks, tmp_path):
    for mark in marks:
        (tmp_path / mark).write_text("{}", "utf-8")
    kind, runs_code = MARKS[marks[0]]
    assert kind_of(tmp_path) == kind and bool(code_in(tmp_path)) == runs_code


def test_a_mark_that_leads_nowhere_is_a_mark(tmp_path):
    (tmp_path / "plans.json").write_text("{}", "utf-8")
    try:
        (tmp_path / "configs").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("links need rights here")
    assert kind_of(tmp_path) == "monai" and code_in(tmp_path)


def test_only_prompted_backends_take_prompts():
    assert {name for name, backend in backends().items() if backend.takes_prompts} == {"nninteractive"}
    assert ModelCard("a", "A", backend="nninteractive").takes_prompts
    assert not any(ModelCard("a", "A", backend=name).takes_prompts for name in ("nnunet", "from the future"))


@pytest.mark.parametrize("kind", backends())
def test_an_empty_folder_is_no_model_of_any_kind(kind, tmp_path):
    assert backends()[kind].find(tmp_path) == []
    with pytest.raises(ModelError):
        load_model(ModelCard("a", "A", backend=kind, folder=tmp_path))


def test_a_card_of_an_unknown_backend_and_a_model_that_is_not_here_are_errors_to_act_on(tmp_path):
    with pytest.raises(ModelError) as caught:
        load_model(ModelCard("a", "A", backend="from the future", folder=tmp_path))
    assert caught.value.code == "model.backend"
    with pytest.raises(ModelError) as caught:
        load_model(ModelCard("a", "A"))
    assert caught.value.code == "model.not_installed" and caught.value.action == "download_model"


class Onnx(Backend):
    code = MappingProxyType({"model.onnx": "its graph"})

    def find(self, folder):
        return [file.parent for file in folder.rglob("model.onnx")]

    def make_card(self, folder):
        return ModelCard(folder.name, "A graph", backend="onnx", structures=["liver"], folder=folder)

    def load(self, card):
        return Model(card, None, [])


@pytest.fixture
def onnx(monkeypatch):
    """The file and the line of a new backend."""
    module = ModuleType(f"{table.__name__}.onnx")
    module.BACKEND = Onnx()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(table._TABLE, "onnx", "onnx")
    backends.cache_clear()
    yield
    backends.cache_clear()


def test_a_new_backend_is_a_file_and_a_line(tmp_path, onnx):
    folder = tmp_path / "lab" / "graph"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    assert recognise(tmp_path) == ("onnx", folder) and code_in(folder) == "its graph"
    (folder / "plans.json").write_text("{}", "utf-8")
    card = find_model(folder)
    assert card.title == "A graph" and load_model(card).card is card and needs_trust(card)
    assert import_model(folder).backend == "onnx"
