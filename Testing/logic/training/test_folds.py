"""Cross-validation: nnU-Net's folds, an ensemble that the engine runs, Dice that can be checked; and weights."""

import csv
import json
import shutil
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.io import write_label_map
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.folds import case_dice, cross_validate, means, split
from DeepSegLogic.training.loop import CHECKPOINT
from DeepSegLogic.training.losses import CaseLoss, RegionLoss
from DeepSegLogic.training.optimization import Options
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.training.recipe import Recipe
from DeepSegLogic.training.run import work_folder
from DeepSegLogic.training.validation import PatchDice, held_out
from DeepSegLogic.util.digests import text_digest
from DeepSegLogic.util.errors import UsageError

from .phantom import NAMES, case, label_map, write_raw

losses = pytest.importorskip("monai.losses")
SMALL = {"shape": (16, 24, 24)}


def alone(names):
    """Patients with one case each."""
    return [[name] for name in names]


def train(data, output, *more):
    command = ["train", str(data), "-o", str(output), "--device", "cpu", "--quiet", "--batch", "1", "--spacing", "4"]
    return main([*command, "--patch", "16,24,24", "--steps", "2", *more])


@pytest.fixture(scope="module", autouse=True)
def full_precision():
    """Sums in bfloat16 can differ from one training to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("DeepSegLogic.training.loop.precision", lambda *_args, **_named: torch.float32)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_raw(tmp_path_factory.mktemp("data") / "raw", 3, **SMALL)


@pytest.fixture(scope="module")
def lab(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("model") / "lab"
    assert train(data, output, "--folds", "3") == 0
    return output


def test_the_folds_are_nnunets():
    """As ``sklearn.model_selection.KFold(folds, shuffle=True, random_state=12345)`` gives them."""
    assert split(alone("gfedcba"), 3) == [["d", "e", "g"], ["a", "b"], ["c", "f"]]
    assert split(alone("abcde"), 5) == [["a"], ["e"], ["d"], ["b"], ["c"]]
    for folds in (0, 1, 8):
        with pytest.raises(UsageError, match="7 cases cannot be divided"):
            split(alone("abcdefg"), folds)


@pytest.mark.parametrize("seed", range(50))
def test_no_patient_is_on_both_sides(seed):
    """Of random patients with random numbers of cases, in any order."""
    rng = np.random.default_rng(seed)
    patient_of = {f"c{n:02}": int(rng.integers(12)) for n in rng.permutation(int(rng.integers(8, 40)))}
    patients = [[name for name, own in patient_of.items() if own == one] for one in dict.fromkeys(patient_of.values())]
    apart = split(patients, int(rng.integers(2, len(patients) + 1)))
    assert sorted(name for part in apart for name in part) == sorted(patient_of), "each case is held out once"
    cases = [SimpleNamespace(name=name) for name in patient_of]
    learnt, measured = ([case.name for case in part] for part in held_out(cases, patients))
    assert sorted(learnt + measured) == sorted(patient_of) and len(measured) <= len(cases) // 5
    for part in (*apart, measured):
        assert part or part is measured
        assert not {patient_of[n] for n in part} & {own for n, own in patient_of.items() if n not in part}
    shuffled = [[*rng.permutation(one).tolist()] for one in patients]
    assert split([shuffled[n] for n in rng.permutation(len(shuffled))], len(apart)) == apart, "whatever the order"
    with pytest.raises(UsageError, match=r"cases( of .* patients?)? cannot be divided"):
        split(patients, len(patients) + 1)


def test_a_patient_with_more_than_a_fifth_of_the_cases_is_not_held_out():
    patients = [[f"a{n}" for n in range(7)], ["b"], ["c"], ["d"]]
    learnt, measured = held_out([SimpleNamespace(name=name) for one in patients for name in one], patients)
    assert len(measured) == 2 and {case.name[0] for case in measured} < set("bcd")
    assert {"a0", "a6"} < {case.name for case in learnt}


def test_a_patient_with_two_cases_is_told_before_the_training_and_held_out_as_a_whole(data, tmp_path, capsys):
    table, output = tmp_path / "cases.csv", tmp_path / "out" / "lab"
    files = [(data / "imagesTr" / f"c{n}_0000.nii.gz", data / "labelsTr" / f"c{n}.nii.gz") for n in range(3)]
    rows = [f"{image},{labels},MRN {7 + n % 2}" for n, (image, labels) in enumerate(files)]
    table.write_text("\n".join(["image,label,patient", *rows]), "utf-8")
    assert train(table, output, "--folds", "3") == 2
    told = capsys.readouterr().err
    assert "3 cases of 2 patients cannot be divided into 3 folds" in told and "MRN" not in told
    assert "column patient of a table" in told
    assert train(table, output, "--folds", "3", "--dry-run") == 2 and capsys.readouterr().err == told
    assert train(table, output, "--folds", "2", "--json") == 0
    told = capsys.readouterr()
    plan = next(event for event in map(json.loads, told.out.splitlines()) if event["event"] == "plan")
    assert plan["Patients"] == "2, with 3 cases" and plan["Held out"] == "1 to 2 of 3 cases by each fold"
    with (work_folder(output) / "cross_validation.csv").open(encoding="utf-8") as file:
        folds = {row["case"]: row["fold"] for row in csv.DictReader(file)}
    assert folds["c0_0000"] == folds["c2_0000"] != folds["c1_0000"]
    written = [path for path in output.parent.rglob("*") if path.is_file()]
    assert not any(word in path.read_bytes() for path in written for word in (b"MRN 7", text_digest("MRN 7").encode()))


@pytest.mark.parametrize(
    "options",
    [
        ["--folds", "6"],
        ["--folds", "1"],
        ["--folds", "2", "--fold", "2"],
        ["--folds", "2", "--network", "segresnet"],
        ["--loss", "tversky", "--weight", "liver=2"],
    ],
)
def test_a_dry_run_refuses_what_the_training_would(data, tmp_path, options, capsys):
    told = []
    for more in ([], ["--dry-run"]):
        assert train(data, tmp_path / "lab", *options, *more) == 2
        told.append(capsys.readouterr().err)
    assert told[0] == told[1] != ""


def test_the_plan_says_what_is_held_out(tmp_path, capsys):
    raw, table = write_raw(tmp_path / "raw", 5), tmp_path / "cases.csv"
    rows = [f"{raw}/imagesTr/c{n}_0000.nii.gz,{raw}/labelsTr/c{n}.nii.gz" for n in range(5)]

    def plan(*patients):
        named = [f"{row},{patient}" for row, patient in zip(rows, patients, strict=False)]
        table.write_text("\n".join(["image,label,patient", *named]), "utf-8")
        assert train(table, tmp_path / "lab", "--dry-run", "--json") == 0
        events = map(json.loads, capsys.readouterr().out.splitlines())
        return next(event["Held out"] for event in events if event["event"] == "plan")

    assert plan(*"abcde") == "1 of 5 cases, for the Dice"
    for patients in ("abcd", "aabbb"):
        assert plan(*patients).startswith("none, so there is no Dice: each patient has more than a fifth")


def test_the_model_is_the_ensemble_and_the_table_has_the_dice_of_cases_that_a_fold_did_not_see(lab, tmp_path):
    model = load_model(find_model(lab))
    assert len(model.networks) == 3 and [p.name for p in sorted(lab.glob("fold_*"))] == ["fold_0", "fold_1", "fold_2"]
    volume, _ = case(5, **SMALL)
    rule = model.plan.normalization
    image = (volume.array.clip(rule.lower, rule.upper) - rule.mean) / rule.sd
    with torch.no_grad():
        mean = sum(network(torch.from_numpy(image).float()[None, None])[0] for network in model.networks) / 3
    assert (segment(volume, lab, device="cpu").label_map.array == mean.argmax(0).numpy()).mean() > 0.9995

    with (work_folder(lab) / "cross_validation.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"c0", "c1", "c2"} and len(rows) == 6
    shutil.copytree(lab, tmp_path / "first")
    for other in ("fold_1", "fold_2"):
        shutil.rmtree(tmp_path / "first" / other)
    (apart,) = split(alone(["c0", "c1", "c2"]), 3)[0]
    volume, labels = case(int(apart[1]), **SMALL)
    found = segment(volume, tmp_path / "first", device="cpu").label_map.array
    told = {row["structure"]: row["dice"] for row in rows if row["fold"] == "0" and row["case"] == apart}
    for value, name in NAMES.items():
        expected = 2 * ((found == value) & (labels == value)).sum() / ((found == value).sum() + (labels == value).sum())
        assert float(told[name]) == pytest.approx(expected, abs=0.01)  # the model is stored in half precision
    card = find_model(lab)
    assert set(card.provenance["folds"]) == {"0", "1", "2"} and '"c0"' not in json.dumps(card.provenance)


def test_voxels_to_ignore_do_not_count_against_a_network(tmp_path):
    """Half of a case was never labelled; the network is right in the other half, and all over the first."""
    names = {**NAMES, 3: "ignore"}
    volume, labels = case(0, **SMALL)
    raw, half = write_raw(tmp_path / "raw", 1, names=names, **SMALL), labels.copy()
    half[:8] = 3
    write_label_map(label_map(volume, half, names), raw / "labelsTr" / "c0.nii.gz")
    report = check_cases(find_cases(raw), "CT")
    plan = plan_training(report, spacing=(4, 4, 4), patch=SMALL["shape"])
    read = read_case(report.cases[0].files)
    assert case_dice(labels, read, plan, frozenset(NAMES.values())) == {"liver": 1.0, "spleen": 1.0}
    everywhere = np.where(np.arange(16)[:, None, None] < 8, 1, labels).astype(np.uint8)
    assert case_dice(everywhere, read, plan, frozenset(NAMES.values())) == {"liver": 1.0, "spleen": 1.0}


def one_fold(recipe, output):
    return cross_validate(recipe, output, 3, 0)[0]


@pytest.fixture
def short(data):
    report = check_cases(find_cases(data), "CT")
    plan = plan_training(report, width=8, spacing=(4, 4, 4), patch=SMALL["shape"], batch=1)
    return Recipe(report, plan, Options(steps=2, every=0.0))


def test_a_fold_ends_with_its_last_network_not_with_the_best_on_the_cases_it_is_measured_on(
    short, tmp_path, monkeypatch
):
    falling = iter([0.9, 0.5, 0.1])
    monkeypatch.setattr(PatchDice, "__call__", lambda self, network: next(falling))
    outcome = one_fold(short, tmp_path / "lab").outcome
    last = torch.load(work_folder(tmp_path / "lab") / "fold_0" / CHECKPOINT, weights_only=True)["average"]
    assert outcome.dice == 0.1 and all(torch.equal(outcome.weights[name], tensor) for name, tensor in last.items())


def test_scores_are_those_of_the_present_network_and_labels(short, tmp_path, monkeypatch):
    """Not those of a network that was trained as long before its checkpoint was deleted."""
    measured = count(1)
    monkeypatch.setattr("DeepSegLogic.training.folds.case_dice", lambda *_: {"liver": float(next(measured))})
    output = tmp_path / "lab"
    assert one_fold(short, output).means() == one_fold(short, output).means() == {"liver": 1.0}
    (work_folder(output) / "fold_0" / CHECKPOINT).unlink()
    shutil.rmtree(output)
    assert one_fold(replace(short, loss="ce"), output).means() == {"liver": 2.0}


def test_what_is_done_is_not_done_again_and_folds_can_be_trained_one_by_one(data, lab, tmp_path):
    logs = {path: path.read_text("utf-8") for path in work_folder(lab).glob("fold_*/training.csv")}
    assert len(logs) == 3 and train(data, lab, "--folds", "3") == 0
    steps = {path: [row.split(",")[3] for row in text.splitlines() if row.endswith(",")] for path, text in logs.items()}
    for path, before in steps.items():
        again = [row.split(",")[3] for row in path.read_text("utf-8").splitlines() if row.endswith(",")]
        assert again == before
    assert train(data, tmp_path / "one", "--folds", "3", "--fold", "2", "--licence", "MIT") == 0
    assert [p.name for p in (tmp_path / "one").glob("fold_*")] == ["fold_2"]
    card = find_model(tmp_path / "one")
    assert len(load_model(card).networks) == 1 and card.licence == "MIT"
    theirs, ours = (torch.load(folder / "fold_2" / "checkpoint_final.pth") for folder in (lab, tmp_path / "one"))
    weights = theirs["network_weights"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in ours["network_weights"].items())
    assert train(data, lab) == 5, "a model of folds is not replaced by another training"


@pytest.mark.parametrize(
    "options",
    [
        ["--folds", "1"],
        ["--folds", "4"],
        ["--folds", "3", "--fold", "3"],
        ["--fold", "1"],
        ["--folds", "3", "--network", "segresnet"],
        ["--weight", "liver"],
        ["--weight", "liver=0"],
        ["--weight", "pancreas=2"],
        ["--weight", "liver=2", "--loss", "tversky"],
    ],
)
def test_folds_and_weights_that_cannot_be_used_are_told_and_no_model_is_written(data, tmp_path, options):
    assert train(data, tmp_path / "x", *options) == 2
    assert not (tmp_path / "x").exists()


def test_a_fold_that_is_none_is_told_before_the_data_is_read(tmp_path, capsys):
    assert train(tmp_path, tmp_path / "x", "--folds", "3", "--fold", "3") == 2
    assert "There is no fold 3 of 3. Choose 0 to 2." in capsys.readouterr().err
    assert not (tmp_path / "x.training").exists()


def test_the_mean_leaves_out_what_is_not_there():
    assert means({"a": {"liver": 0.5, "cyst": None}, "b": {"liver": 1.0, "cyst": None}}) == {
        "liver": 0.75,
        "cyst": None,
    }


@pytest.mark.parametrize("name", ["ce", "dice", "dice-ce", "focal", "dice-focal", "cldice", "boundary"])
def test_a_weight_scales_what_a_structure_costs(name):
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (1, 6, 6, 6), generator=rng)
    sure = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * 8.0
    wrong = [torch.where((labels == value)[:, None], 0.0, sure) for value in (1, 2)]  # unsure about one structure

    def ratio(weights):
        loss = CaseLoss(name, [(1, 2)], weights)
        return float(loss(wrong[0], labels, [0])) / float(loss(wrong[1], labels, [0]))

    assert ratio((5.0, 1.0)) > 1.5 * ratio((1.0, 1.0))


def test_weighted_losses_are_those_of_torch_and_monai():
    logits, labels = torch.randn(2, 3, 5, 5, 5), torch.randint(0, 3, (2, 5, 5, 5))
    weights = torch.tensor([1.0, 3.0, 0.5])
    entropy = torch.nn.functional.cross_entropy(logits, labels, weights)
    torch.testing.assert_close(CaseLoss("ce", [(1, 2)], (3.0, 0.5))(logits, labels, [0, 0]), entropy)
    one_hot = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    chance = logits.softmax(1)
    each = 1 - (2 * (chance * one_hot).sum((0, 2, 3, 4)) + 1e-5) / ((chance + one_hot).sum((0, 2, 3, 4)) + 1e-5)
    dice = (each[1:] * weights[1:]).mean()
    found = CaseLoss("dice-ce", [(1, 2)], (3.0, 0.5))(logits, labels, [0, 0])
    torch.testing.assert_close(found, entropy + dice, rtol=1e-4, atol=1e-5)
    table = np.array([[0, 1, 1], [0, 0, 1]], bool)
    parts = [RegionLoss("dice-ce", [(1,)], table[[n]])(logits[:, [n]], labels, [0, 0]) for n in range(2)]
    weighted = RegionLoss("dice-ce", [(1, 2)], table, (3.0, 0.5))(logits[:, :2], labels, [0, 0])
    torch.testing.assert_close(weighted, (3.0 * parts[0] + 0.5 * parts[1]) / 2)
