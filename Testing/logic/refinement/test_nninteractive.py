"""nnInteractive itself, with random weights in its own format; where it is not installed, only what is refused."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from DeepSegLogic.models import load_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.refinement import Point, Scribble, prompt_network, refine
from DeepSegLogic.util.errors import ModelError
from DeepSegLogic.worker import WorkerClient

LIVER = 5
ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 2,
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.modules.activation.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
}


@pytest.fixture
def folder(tmp_path):
    """A model folder without weights."""
    folder = tmp_path / "nnInteractive_v1.0"
    (folder / "fold_0").mkdir(parents=True)
    configuration = {"patch_size": [64, 64, 64], "spacing": [1, 1, 1], "architecture": ARCHITECTURE}
    plans = {"dataset_name": "Dataset001_Ours", "plans_name": "p", "configurations": {"3d_fullres": configuration}}
    names = {"channel_names": {"0": "any"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")
    (folder / "dataset.json").write_text(json.dumps(names), "utf-8")
    (folder / "inference_session_class.json").write_text(json.dumps({"point_radius": 4}), "utf-8")
    (folder / "LICENSE").write_text("CC BY-NC-SA 4.0\nhttps://example.org\n", "utf-8")
    return folder


@pytest.fixture
def model(folder):
    """The folder with random weights."""
    pytest.importorskip("nnInteractive")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    plan = json.loads((folder / "plans.json").read_text("utf-8"))["configurations"]["3d_fullres"]["architecture"]
    names = plan["network_class_name"], plan["arch_kwargs"], plan["_kw_requires_import"]
    network = get_network_from_plans(*names, 1 + 7, 2, deep_supervision=False)
    with torch.no_grad():
        network.decoder.seg_layers[-1].bias[:] = torch.tensor([0.4, -0.4])  # rather background: less to look at again
    content = {"trainer_name": "nnInteractiveTrainer_stub", "init_args": {"configuration": "3d_fullres"}}
    torch.save({**content, "network_weights": network.state_dict()}, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def by_hand(folder, image, mask, prompts):
    """nnInteractive's own interface. Where it looks again is drawn by NumPy's global generator."""
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1)
    session.initialize_from_trained_model_folder(str(folder))
    session.set_image(image[None])
    session.set_target_buffer(np.zeros(image.shape, np.uint8))
    session.add_initial_seg_interaction(mask.astype(np.uint8))
    np.random.seed(0)
    for number, (voxel, positive) in enumerate(prompts, start=1):
        session.add_point_interaction(voxel, positive, run_prediction=number == len(prompts))
    return session.target_buffer > 0


@pytest.mark.parametrize("positive", [True, False])
def test_the_answer_is_nninteractives_within_locks(model, phantom, positive):
    network = prompt_network(str(model), "cpu")
    assert network.licence == "CC BY-NC-SA 4.0"
    array = phantom.truth.copy()
    array[15:25][array[15:25] == LIVER] = 0
    voxel, labels = ((20, 22, 20) if positive else (12, 22, 20)), phantom.labels(array)
    np.random.seed(0)
    done = refine(labels, [Point("liver", positive, phantom.ras(*voxel))], volume=phantom.volume, network=network)
    answer = by_hand(model, phantom.volume.array, array == LIVER, [(voxel, positive)])
    expected = answer & (array == 0) if positive else ~answer & (array == LIVER)
    assert expected.sum() > 100  # random, but something
    expected[voxel] = True  # the prompt's own voxel holds in any case
    pieces, _ = ndimage.label(expected)
    np.testing.assert_array_equal(done.label_map.array != array, pieces == pieces[voxel])
    kept = array != LIVER if positive else array == 0
    np.testing.assert_array_equal(done.label_map.array[kept & (array > 0)], array[kept & (array > 0)])
    again = refine(
        done.label_map, [Point("liver", positive, phantom.ras(*voxel))], volume=phantom.volume, network=network
    )
    assert again.changed_box is None


def test_a_session_that_goes_on_answers_as_a_new_one(model, phantom):
    """Also after prompts on another image, or on other labels of the same one."""
    network = prompt_network(str(model), "cpu")
    other = replace(phantom.volume, array=phantom.volume.array[::-1].copy())
    calls = [(phantom.volume, (20, 22, 20)), (phantom.volume, (12, 22, 20)), (other, (20, 22, 20))]
    for volume, voxel in [*calls, *calls]:
        prompt, answers = Point("liver", False, phantom.ras(*voxel)), []
        for one in (network, prompt_network(str(model), "cpu")):
            np.random.seed(0)
            answers.append(refine(phantom.labels(), [prompt], volume=volume, network=one).label_map.array)
        np.testing.assert_array_equal(*answers)


def test_all_prompts_hold(model, phantom):
    stroke = Scribble("liver", False, (phantom.ras(20, 18, 16), phantom.ras(20, 26, 16)), 2.0)
    prompts = [Point("liver", True, phantom.ras(3, 3, 3)), stroke]
    network = prompt_network(str(model), "cpu")
    array = refine(phantom.labels(), prompts, volume=phantom.volume, network=network).label_map.array
    assert array[3, 3, 3] == LIVER and (array[20, 18:27, 16] == 0).all()


def test_weights_with_code_are_refused(model):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    (model / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError) as caught:
        prompt_network(str(model))
    assert caught.value.code in ("model.untrusted", "model.corrupted")


@pytest.mark.parametrize(("key", "name"), [("network_class_name", "os.system"), ("conv_op", "os.system")])
def test_plans_that_name_foreign_code_are_refused(model, key, name):
    plans = json.loads((model / "plans.json").read_text("utf-8"))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    (architecture if key in architecture else architecture["arch_kwargs"])[key] = name
    (model / "plans.json").write_text(json.dumps(plans), "utf-8")
    with pytest.raises(ModelError, match="no network"):
        prompt_network(str(model))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store of models."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))


@pytest.fixture
def brought(folder):
    """The folder with weights that fit no network, and with more in it than a model needs."""
    torch.save({"network_weights": {"weight": torch.zeros(2)}}, folder / "fold_0" / "checkpoint_final.pth")
    (folder / "fold_0" / "validation").mkdir()
    (folder / "fold_0" / "validation" / "patient.nii.gz").write_bytes(b"voxels")
    return folder


def test_it_is_imported_with_its_licence_and_nothing_else_in_its_folder(store, brought):
    card = import_model(brought)
    assert (card.id, card.title, card.licence) == ("nninteractive_v1_0", "nnInteractive_v1.0", "CC BY-NC-SA 4.0")
    assert card.takes_prompts
    copied = {file.relative_to(card.folder).as_posix() for file in card.folder.rglob("*") if file.is_file()}
    names = {"plans.json", "dataset.json", "inference_session_class.json", "LICENSE", "fold_0/checkpoint_final.pth"}
    assert copied == names | {"card.json"}
    with pytest.raises(ModelError, match="segments nothing"):
        load_model(card)


def test_an_imported_one_says_what_is_missing_to_use_it(store, brought):
    import_model(brought)
    with pytest.raises(ModelError) as caught:
        prompt_network("nninteractive_v1_0", "cpu")
    try:
        import nnInteractive  # noqa: F401
    except ImportError:
        assert caught.value.code == "model.nninteractive" and "package nninteractive" in caught.value.message
    else:
        assert caught.value.code == "model.corrupted"


def test_foreign_code_is_not_imported(store, brought):
    plans = json.loads((brought / "plans.json").read_text("utf-8"))
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "os.system"
    (brought / "plans.json").write_text(json.dumps(plans), "utf-8")
    with pytest.raises(ModelError, match="no network"):
        import_model(brought)
    (brought / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(ModelError, match="no weights"):
        import_model(brought)


def test_an_imported_one_corrects_in_the_worker(store, model, phantom):
    import_model(model, changes={"id": "any"})
    request = {"label_map": phantom.labels(), "volume": phantom.volume, "model": "any", "device": "cpu"}
    with WorkerClient(grace=120) as client:
        for voxel in ((3, 3, 3), (36, 40, 50)):
            answer = client.call("refine", prompts=[Point("liver", True, phantom.ras(*voxel))], **request)
            assert answer["label_map"].array[voxel] == LIVER
        assert client.call("ping")["model"] == "any"


def test_a_folder_without_weights_is_refused(folder):
    with pytest.raises(ModelError) as caught:
        prompt_network(str(folder))
    assert caught.value.code in ("model.nninteractive", "model.corrupted")
