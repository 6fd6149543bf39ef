"""The nnU-Net backend on folders that are not as they should be."""

import json
import pickle
import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError, UsageError

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
BLOCKS = "dynamic_network_architectures.building_blocks.residual."


@pytest.fixture
def folder(tmp_path, demo_model):
    """A private copy of the bundled model."""
    return shutil.copytree(demo_model, tmp_path / "model with späces")


def load(folder):
    return load_model(find_model(folder))


def edit(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def arch(configuration):
    return configuration["architecture"]["arch_kwargs"]


def test_labels_come_in_the_models_order(folder):
    model = load(folder)
    dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
    known = {v: n for n, v in dataset["labels"].items() if n not in ("background", "ignore")}
    assert model.plan.labels == known
    assert model.plan.channels == len(known) + 1  # the ignore label has no output


@pytest.mark.parametrize(
    ("folds", "used"),
    [
        (("fold_0", "fold_1"), 2),
        (("fold_0", "fold_all"), 1),  # nnU-Net counts the numbered ones only
        (("fold_all",), 1),
        (("fold_0", "fold_0_old"), 1),
    ],
)
def test_folds_are_chosen_as_nnunet_does(folder, folds, used):
    first = (folder / "fold_0").rename(folder / "first")
    for fold in folds:
        shutil.copytree(first, folder / fold)
    assert len(load(folder).networks) == used


def test_best_weights_are_used_only_when_asked_for(folder):
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    final = folder / "fold_1" / "checkpoint_final.pth"
    final.rename(final.with_name("checkpoint_best.pth"))
    assert len(load(folder).networks) == 1
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(ModelError, match=r"not finished: it has fold_1/checkpoint_best\.pth.*rename") as caught:
        load(folder)
    assert caught.value.code == "model.missing"


def changed(path, value):
    """A change of plans.json: another value at a path of keys; of a list, at an index."""

    def change(content):
        *way, last = path
        for key in way:
            content = content[key]
        content[last] = value

    return change


FULL = ("configurations", "3d_fullres")
DATA_OPTIONS = (*FULL, "resampling_fn_data_kwargs")
NORM_OPTIONS = (*FULL, "architecture", "arch_kwargs", "norm_op_kwargs")
INTENSITIES = ("foreground_intensity_properties_per_channel", "0")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("transpose_forward",), [0, 0, 0], "transpose_forward"),
        (("transpose_forward",), [0, 1, 3], "transpose_forward"),
        ((*FULL, "spacing"), [5.0, float("nan"), 5.0], "spacing = nan"),
        ((*FULL, "spacing"), [5.0, -5.0, 5.0], "spacing = -5.0"),
        ((*FULL, "spacing"), 5.0, "spacing = 5.0"),
        ((*FULL, "patch_size"), [48, 0, 48], "patch_size = 0"),
        ((*FULL, "patch_size"), [48, 48], "patch_size"),
        ((*FULL, "patch_size"), [48, 48.5, 48], "patch_size = 48.5"),
        ((*DATA_OPTIONS, "order"), "cubic", "order = 'cubic'"),
        ((*DATA_OPTIONS, "order"), 9, "order = 9"),
        ((*DATA_OPTIONS, "force_separate_z"), "yes", "force_separate_z"),
        ((*NORM_OPTIONS, "eps"), "small", "eps = small"),
        ((*FULL, "architecture", "arch_kwargs", "strides", 0), [2, 2, 2], "strides that begin with"),
        ((*INTENSITIES, "mean"), None, "mean = None"),
        ((*INTENSITIES, "std"), "wide", "std = 'wide'"),
        ((*INTENSITIES, "percentile_99_5"), 1e308, "percentile_99_5 = 1e+308"),  # more than float32 holds
        pytest.param((*INTENSITIES, "mean"), 10**400, "mean = 1000", id="digits"),  # more than Python's own float holds
    ],
)
def test_impossible_numbers_of_a_plan_are_refused_by_name(folder, path, value, named):
    edit(folder / "plans.json", changed(path, value))
    with pytest.raises(ModelError, match=re.escape(named)) as caught:
        load(folder)
    assert caught.value.remedy


@pytest.mark.parametrize(("axes", "named"), [((0, 3), "axes = 3"), ((-1,), "axes = -1"), (("x",), "axes = 'x'")])
def test_mirroring_axes_that_are_none_are_refused(folder, axes, named):
    path = folder / "fold_0" / "checkpoint_final.pth"
    torch.save(torch.load(path, weights_only=False) | {"inference_allowed_mirroring_axes": axes}, path)
    with pytest.raises(ModelError, match=named):
        load(folder)


@pytest.mark.parametrize("order", [[1, 3, 3], [0, 1, 2], [1, 2, 70000], [1, 2, "x"]])
def test_values_of_regions_that_do_not_tell_them_apart_are_refused(tmp_path, order):
    folder = shutil.copytree(KINDS / "regions", tmp_path / "regions")
    edit(folder / "dataset.json", lambda dataset: dataset.update(regions_class_order=order))
    with pytest.raises(ModelError, match="regions_class_order"):
        find_model(folder) and load(folder)


def test_numbers_of_a_plan_may_be_text(folder):
    usual = load(folder).plan
    (spacing, *_), (patch, *_) = usual.spacing, usual.patch_size
    for path, value in (
        ((*FULL, "spacing"), [f"{spacing:.1f}", f"{spacing:.3f}", f"{spacing:.2f}"]),
        ((*FULL, "patch_size"), [f"{patch}", float(patch), patch]),
        ((*DATA_OPTIONS, "order"), "3"),
        ((*INTENSITIES, "std"), "200.0"),
    ):
        edit(folder / "plans.json", changed(path, value))
    assert load(folder).plan == usual


@pytest.mark.parametrize(("name", "value"), [("spleen", 2), ("spleen", 0), ("spleen", -1), ("spleen", True)])
def test_label_values_that_do_not_tell_structures_apart_are_refused(folder, name, value):
    edit(folder / "dataset.json", changed(("labels", name), value))
    with pytest.raises(ModelError, match="spleen"):
        find_model(folder) and load(folder)


def test_regions_keep_their_writing_order(folder):
    def overlapping(dataset):
        names = list(dataset["labels"])[1:3]
        dataset["labels"] = {"background": 0, names[0]: [1, 2], names[1]: 2}
        dataset["regions_class_order"] = [1, 2]

    edit(folder / "dataset.json", overlapping)
    with pytest.raises(ModelError, match="do not fit"):  # two outputs asked for, the weights have more
        load(folder)


@pytest.mark.parametrize(
    ("labels", "order", "names"),
    [
        (  # KiTS
            {"kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2},
            [1, 3, 2],
            ["kidney_without_masses", "tumor", "masses_without_tumor"],
        ),
        (  # BraTS
            {"whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3},
            [1, 2, 3],
            ["whole tumor without tumor core", "tumor core without enhancing tumor", "enhancing tumor"],
        ),
        ({"lung": [1, 2, 3], "node": 2, "vessel": 3}, [1, 2, 3], ["lung_without_node_and_vessel", "node", "vessel"]),
        ({"liver": [1, 2], "spleen": [3], "cyst": [2]}, [1, 3, 2], ["liver_without_cyst", "cyst", "spleen"]),
    ],
)
def test_a_value_is_named_for_what_later_regions_leave_of_its_own(tmp_path, labels, order, names):
    folder = shutil.copytree(KINDS / "regions", tmp_path / "regions")
    change = {"labels": {"background": 0, **labels}, "regions_class_order": order}
    edit(folder / "dataset.json", lambda dataset: dataset.update(change))
    card, plan = find_model(folder), load(folder).plan
    assert card.structures == names and [plan.labels[v] for v in (1, 2, 3)] == names
    assert plan.regions == tuple(order)


def test_regions_keep_their_names_through_import_and_run(own_store):
    card = import_model(KINDS / "regions", changes={"id": "brain_tumor"})
    result = segment(read_volume(KINDS / "image.nii.gz"), card.id, device="cpu", structures=["Enhancing tumor"])
    assert [s.title for s in result.label_map.structures] == ["Enhancing tumor"]
    assert set(result.confidence) == {"enhancing tumor"}
    with pytest.raises(UsageError, match="whole tumor without tumor core"):
        segment(read_volume(KINDS / "image.nii.gz"), card.id, device="cpu", structures=["whole tumor"])


def test_a_folder_without_card_is_described_by_its_files(folder):
    (folder / "card.json").unlink()
    card = find_model(folder)
    assert card.modality == "CT"
    assert load_model(card).plan.orientation == "RAS"  # from nnU-Net's reader


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load(folder)


def test_missing_weights_are_named(folder):
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(ModelError, match="no weights"):
        load(folder)


def test_truncated_weights_are_corrupted(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="corrupted") as caught:
        load(folder)
    assert caught.value.code == "model.corrupted"


def test_garbage_instead_of_weights_is_corrupted(folder):
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"<html>404 not found</html>")
    with pytest.raises(ModelError, match=r"corrupted|code"):
        load(folder)


def with_trainer(folder, trainer):
    """The weights of a batch norm more than the plan has, by this trainer."""
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    content["network_weights"]["encoder.stages.0.0.convs.0.norm.running_mean"] = torch.zeros(8)
    torch.save(content | {"trainer_name": trainer}, path)


@pytest.mark.parametrize("trainer", ["nnUNetTrainerBN", "STUNetTrainer_small", "nnUNet_PrimusV2B_Trainer", "NexToU"])
def test_the_network_of_a_trainer_is_named(folder, trainer):
    with_trainer(folder, trainer)
    with pytest.raises(ModelError, match=f"was trained with {trainer}, whose network DeepSeg does not have") as caught:
        load(folder)
    assert caught.value.code == "model.unsupported"


@pytest.mark.parametrize(
    "trainer", ["nnUNetTrainer", "nnUNetTrainer_4000epochs_NoMirroring", "nnUNetTrainerDA5_10epochs"]
)
def test_weights_of_nnunets_own_trainers_that_do_not_fit_are_corrupted(folder, trainer):
    with_trainer(folder, trainer)
    with pytest.raises(ModelError, match="do not fit") as caught:
        load(folder)
    assert caught.value.code == "model.corrupted"


def test_weights_of_another_network_do_not_fit(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    del content["network_weights"]["decoder.seg_layers.0.bias"]
    torch.save(content, path)
    with pytest.raises(ModelError, match="do not fit"):
        load(folder)


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f"open({str(self.target)!r}, 'w').write('ran')",))


def _torch_save(content, path):
    torch.save(content, path)


def _plain_pickle(content, path):
    with path.open("wb") as file:
        pickle.dump(content, file)


@pytest.mark.parametrize("save", [_torch_save, _plain_pickle])
def test_code_in_weights_is_refused_and_does_not_run(folder, tmp_path, save):
    target = tmp_path / "ran.txt"
    path = folder / "fold_0" / "checkpoint_final.pth"
    save({"network_weights": Bomb(target)}, path)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert not target.exists()
    if save is _torch_save:
        assert caught.value.code == "model.untrusted"
    with suppress(RuntimeError, pickle.UnpicklingError, AttributeError, TypeError):
        torch.load(path, weights_only=False)  # the file is a real bomb: without the guard it goes off
    assert target.exists()


def test_training_logs_with_numpy_numbers_are_data(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    content["logging"] = {"dice": [np.float32(0.5), np.float64(0.25)], "epoch": np.int64(3)}
    torch.save(content, path)
    assert load(folder).networks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(patch_size=[64]), "axes"),
        (lambda c: c.update(normalization_schemes=["Magic"]), "Magic"),
        (lambda c: c.update(resampling_fn_data="mine"), "mine"),
        (lambda c: c["architecture"].update(network_class_name="x.Primus"), "Primus"),
        (lambda c: c.pop("spacing"), "spacing"),
        (lambda c: c["architecture"].update(arch_kwargs=[]), "incomplete"),
        (lambda c: c.update(preprocessor_name="MyPreprocessor"), "preprocessor_name = MyPreprocessor"),
        (
            lambda c: c["resampling_fn_data_kwargs"].update(sharpness=2),
            "resampling_fn_data_kwargs: the option sharpness",
        ),
        (lambda c: c["resampling_fn_probabilities_kwargs"].update(separate_z_anisotropy_threshold=9), "threshold = 9"),
        (lambda c: arch(c).update(nonlin_kwargs={"negative_slope": 0.2}), "negative_slope = 0.2"),
        (lambda c: arch(c).update(nonlin_first=True), "nonlin_first = True"),
        (lambda c: arch(c).update(attention="gates"), "the option attention = gates"),
        (lambda c: arch(c).update(squeeze_excitation=True), "squeeze_excitation"),
        (lambda c: arch(c).update(block=BLOCKS + "BottleneckD"), "BottleneckD"),
        (lambda c: arch(c)["norm_op_kwargs"].update(track_running_stats=True), "track_running_stats"),
    ],
)
def test_what_a_plan_asks_in_vain_is_named(folder, change, said):
    edit(folder / "plans.json", lambda plans: change(plans["configurations"]["3d_fullres"]))
    with pytest.raises(ModelError, match=said):
        load(folder)


def test_options_with_the_value_that_deepseg_has_are_fine(folder):
    def change(plans):
        arch(plans["configurations"]["3d_fullres"]).update(
            nonlin_first=False,
            nonlin_kwargs={"inplace": True, "negative_slope": 0.01},
            dropout_op="torch.nn.Dropout3d",
            dropout_op_kwargs={"p": 0.2},
            deep_supervision=True,
            block=BLOCKS + "BasicBlockD",
        )

    edit(folder / "plans.json", change)
    assert load(folder).networks


def test_modality_is_taken_for_channel_names(folder):
    edit(folder / "dataset.json", lambda d: d.update(modality=d.pop("channel_names")))
    (folder / "card.json").unlink()
    assert find_model(folder).modality == "CT" and load(folder).networks


def test_label_values_may_be_text(folder):
    """As in the trainings of MOOSE."""
    labels = load(folder).labels
    edit(folder / "dataset.json", lambda d: d.update(labels={name: str(value) for name, value in d["labels"].items()}))
    assert load(folder).labels == labels


def test_a_data_set_of_the_first_version_is_called_so(folder):
    edit(folder / "dataset.json", lambda d: d.update(labels={"0": "background", "1": "liver"}, modality={"0": "CT"}))
    (folder / "card.json").unlink()
    for call in (find_model, import_model):
        with pytest.raises(ModelError, match=r"dataset\.json is in the style of nnU-Net v1.*convert"):
            call(folder)


def test_a_training_of_the_first_version_is_called_so(tmp_path):
    folder = tmp_path / "nnUNetTrainerV2__nnUNetPlansv2.1"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.pkl", "fold_0/model_final_checkpoint.model", "fold_0/model_final_checkpoint.model.pkl"):
        (folder / name).write_bytes(b"old")
    zipped = Path(shutil.make_archive(str(tmp_path / "old"), "zip", tmp_path, folder.name))
    for call, path in ((find_model, folder), (import_model, folder), (import_model, zipped)):
        with pytest.raises(ModelError, match=f"{re.escape(str(path))} is a training of nnU-Net v1") as caught:
            call(path)
        assert caught.value.code == "model.unsupported"


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "plans.json").write_text("{", "utf-8"),
        lambda folder: (folder / "dataset.json").write_text("{}", "utf-8"),
        lambda folder: with_trainer(folder, "MyTrainer"),
        lambda folder: with_trainer(folder, "nnUNetTrainer"),
        lambda folder: (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"PK"),
        lambda folder: (folder / "fold_0" / "checkpoint_final.pth").unlink(),
        lambda folder: shutil.copytree(folder, folder.parent / "another"),
    ],
)
def test_an_import_that_fails_names_the_users_own_path(tmp_path, own_store, change, as_zip):
    tree = tmp_path / "theirs"
    folder = shutil.copytree(KINDS / "residual", tree / "trained")
    change(folder)
    path = Path(shutil.make_archive(str(tmp_path / "theirs"), "zip", tree)) if as_zip else tree
    with pytest.raises(ModelError) as caught:
        import_model(path)
    assert str(path) in caught.value.message and str(own_store) not in str(caught.value)


@pytest.mark.parametrize("change", [{"labels": ["liver"]}, {"channel_names": ["CT"]}, {"channel_names": {}}])
def test_a_data_set_of_another_kind_is_refused(folder, change):
    edit(folder / "dataset.json", lambda dataset: dataset.update(change))
    (folder / "card.json").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"dataset\.json"):
        find_model(folder)


def test_not_a_model_folder(tmp_path):
    with pytest.raises(ModelError, match=r"plans\.json"):
        find_model(tmp_path)
    with pytest.raises(ModelError, match="no model"):
        find_model("liverr")
