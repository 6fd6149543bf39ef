"""Models of several networks against their networks run one by one and merged by hand."""

import gc
import json
import shutil
import weakref

import numpy as np
import pytest
import torch

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference import volume_run
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models import model as loading
from DeepSegLogic.models.card import ModelCard, Part
from DeepSegLogic.models.files import folder_digests
from DeepSegLogic.models.install import download_model
from DeepSegLogic.models.store import Store
from DeepSegLogic.models.weights import read_checkpoint
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.util.errors import ModelError

from .conftest import BONES, ORGANS, listed

NAMES = ["skull", "liver", "sternum", "spleen", "sacrum"]  # the whole's own order


@pytest.fixture(scope="module")
def volume(shared_data):
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    volume.array = np.ascontiguousarray(volume.array[30:80, 20:80, 20:90])
    return volume


@pytest.fixture
def whole(nnunet_folder, own_store):
    """An installed model of two networks; they normalise differently but want the same grid."""
    folder = own_store / "whole"
    nnunet_folder(folder / "organs", ORGANS, seed=22)
    nnunet_folder(folder / "bones", BONES, seed=21, hounsfield=(100.0, 1500.0))
    card = ModelCard("whole", "Whole body", orientation="RAS", structures=NAMES)
    card.parts = [Part("organs", ORGANS), Part("bones", BONES)]
    with Store().lock("whole"), Store().staging("whole") as staged:
        for part in card.parts:
            (folder / part.name).rename(staged / part.name)
        return Store().install(card, staged)


def alone(card, name, volume):
    """One network as a model of its own."""
    single = ModelCard(name, name, orientation="RAS", folder=card.folder / name)
    return segment(volume, single, device="cpu").label_map


def merged(card, volume):
    expected = np.zeros(volume.shape_kji, int)
    for name in ("organs", "bones"):
        labels = alone(card, name, volume)
        for structure in labels.structures:
            expected[labels.array == structure.value] = NAMES.index(structure.name) + 1
    return expected


def test_the_merge_is_that_done_by_hand(whole, volume):
    result = segment(volume, "whole", device="cpu")
    expected = merged(whole, volume)
    assert len(np.unique(expected)) == 6
    np.testing.assert_array_equal(result.label_map.array, expected)
    assert {s.name: s.value for s in result.label_map.structures} == {n: v for v, n in enumerate(NAMES, start=1)}
    assert set(result.confidence) == set(result.boundary_margin) == set(NAMES)
    assert result.plan["windows"] == estimate(volume, "whole", device="cpu").windows


def half(demo_model, folder, names):
    """The bundled, trained network with the outputs of some of its structures only."""
    (folder / "fold_0").mkdir(parents=True)
    shutil.copy(demo_model / "plans.json", folder / "plans.json")
    dataset = json.loads((demo_model / "dataset.json").read_text("utf-8"))
    channels = [0, *(dataset["labels"][name] for name in names)]
    dataset["labels"] = {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}
    (folder / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    checkpoint = read_checkpoint(demo_model / "fold_0" / "checkpoint_final.pth")
    weights = checkpoint["network_weights"]
    for name in weights:
        if ".seg_layers." in name:
            weights[name] = weights[name][channels].clone()
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def test_two_trained_networks_are_merged_as_by_hand(demo_model, tmp_path, shared_data):
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    volume.array = np.ascontiguousarray(volume.array[20:84, 20:84, 15:95])
    # On the network's own grid, where nothing is resampled: parts share a resampled volume, see the next test.
    volume.ijk_to_ras = volume.ijk_to_ras @ np.diag([*(mm / 3 for mm in find_model(demo_model).spacing), 1.0])
    names = find_model(demo_model).structures
    halves = {"first": tuple(names[::2]), "second": tuple(names[1::2])}
    for name, structures in halves.items():
        half(demo_model, tmp_path / "whole" / name, structures)
    card = ModelCard("whole", "Both", orientation="RAS", structures=names, folder=tmp_path / "whole")
    card.parts = [Part(name, structures) for name, structures in halves.items()]
    expected = np.zeros(volume.shape_kji, int)
    for name in halves:
        labels = alone(card, name, volume)
        for structure in labels.structures:
            expected[labels.array == structure.value] = names.index(structure.name) + 1
    card.digests = folder_digests(card.folder)
    result = segment(volume, card, device="cpu")
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(result.label_map.array, expected)


def test_the_same_volume_resampled_gives_nearly_the_same_labels(whole, volume):
    """Shared resampling comes before each network's normalisation, not after it: borders move a little."""
    finer = Volume(volume.array, volume.ijk_to_ras @ np.diag([0.8, 0.8, 0.8, 1.0]))
    agreement = np.mean(segment(finer, "whole", device="cpu").label_map.array == merged(whole, finer))
    print("voxels that agree after resampling:", agreement)
    assert agreement > 0.9


def test_only_the_parts_that_are_needed_run(whole, volume, monkeypatch):
    loaded = []
    load = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda card: loaded.append(card.id) or load(card))
    result = segment(volume, "whole", structures=["liver"], device="cpu")
    assert loaded == ["whole/organs"]
    labels = alone(whole, "organs", volume)
    np.testing.assert_array_equal(result.label_map.array == 2, labels.mask("liver"))
    assert set(np.unique(result.label_map.array)) == {0, 2} and [s.name for s in result.label_map.structures] == [
        "liver"
    ]


def test_one_network_is_in_memory_at_a_time_over_one_resampled_volume(whole, volume, monkeypatch):
    alive, prepared = [], []
    load, prepare = loading.load_model, volume_run.prepare

    def load_and_watch(card):
        gc.collect()
        assert all(network() is None for network in alive)
        model = load(card)
        alive.extend(weakref.ref(network) for network in model.networks)
        return model

    monkeypatch.setattr(loading, "load_model", load_and_watch)
    monkeypatch.setattr(volume_run, "prepare", lambda *args: prepared.append(1) or prepare(*args))
    segment(volume, "whole", device="cpu")
    assert len(alive) == 2 and len(prepared) == 1


def test_networks_of_other_spacings_are_prepared_each_for_itself(nnunet_folder, whole, volume, monkeypatch):
    shutil.rmtree(whole.folder / "bones")
    nnunet_folder(whole.folder / "bones", BONES, seed=21, spacing=(6.0, 6.0, 6.0))
    result = segment(volume, "whole", device="cpu", keep_probabilities=True)
    assert np.mean(result.label_map.array == merged(whole, volume)) > 0.9
    assert result.probabilities is None  # they lie on two grids


def test_progress_runs_once_from_start_to_end(whole, volume):
    seen = []
    segment(volume, "whole", device="cpu", progress=lambda *report: seen.append(report))
    inference = [fraction for stage, fraction, _ in seen if stage == "inference"]
    assert inference == sorted(inference) and inference[-1] == 1.0 and max(inference[:3]) < 0.5
    assert any("whole/bones" in message for _, _, message in seen)


def test_probabilities_of_the_parts_are_joined(whole, volume):
    top = segment(volume, "whole", device="cpu", keep_probabilities=True).probabilities
    tops = {n: segment(volume, ModelCard(n, n, orientation="RAS", folder=whole.folder / n), device="cpu",
                       keep_probabilities=True).probabilities for n in ("organs", "bones")}  # fmt: skip
    liver = tops["organs"].probability(1, volume.shape_kji, volume.ijk_to_ras)
    joined = top.probability(NAMES.index("liver") + 1, volume.shape_kji, volume.ijk_to_ras)
    kept = joined > 0
    np.testing.assert_allclose(joined[kept], liver[kept], atol=1e-6)
    assert np.all(np.diff(top.values.astype(int), axis=0) <= 0)  # most probable first
    background = [t.probability(0, volume.shape_kji, volume.ijk_to_ras) for t in tops.values()]
    joined = top.probability(0, volume.shape_kji, volume.ijk_to_ras)
    kept = joined > 0
    np.testing.assert_allclose(joined[kept], (background[0] * background[1])[kept], atol=1 / 255)


def test_a_model_of_parts_can_be_kept_warm(whole, volume):
    model = load_model(find_model("whole"))
    assert model.networks == [] and list(model.labels.values()) == NAMES
    first = segment(volume, model, structures=["skull"], device="cpu").label_map.array
    second = segment(volume, model, structures=["skull"], device="cpu").label_map.array
    np.testing.assert_array_equal(first, second)


def test_auxiliary_labels_are_not_reported(site, networks, zip_of, monkeypatch, volume):
    """A network with more labels than its publisher reports, as that of the kidney cysts."""
    site.files["bones.zip"] = zip_of(networks["bones"])
    card = ModelCard("cysts", "Cysts", structures=["sternum"], parts=[Part(url=site.url("bones.zip"), auxiliary=2)])
    listed(card, monkeypatch)
    installed = download_model(card)
    every = segment(volume, networks["bones"], device="cpu").label_map.array
    result = segment(volume, installed.id, device="cpu", uncertainty=True, keep_probabilities=True)
    assert [s.name for s in result.label_map.structures] == ["sternum"] and set(result.confidence) == {"sternum"}
    np.testing.assert_array_equal(result.label_map.array, every == 1)
    assert set(np.unique(every)) == {0, 1, 2, 3}
    assert result.probabilities.labels.max() == 1


@pytest.mark.parametrize("auxiliary", [0, 1, 3])
def test_another_number_of_auxiliary_labels_is_refused(site, networks, zip_of, monkeypatch, auxiliary):
    site.files["bones.zip"] = zip_of(networks["bones"])
    part = Part(url=site.url("bones.zip"), auxiliary=auxiliary)
    card = ModelCard("cysts", "Cysts", structures=["sternum"], parts=[part])
    listed(card, monkeypatch)
    with pytest.raises(ModelError, match="marks 3 structures"):
        download_model(card)
