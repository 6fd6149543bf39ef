"""A training that begins with a model: what it takes, what it keeps, and that it forgets without distillation."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

from DeepSegLogic.models import find_model
from DeepSegLogic.networks.table import build_network
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.distillation import ClassDistillation
from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.loop import Training
from DeepSegLogic.training.losses import CaseLoss
from DeepSegLogic.training.optimization import Options
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.run import train_model, work_folder
from DeepSegLogic.training.transfer import begin_with, grown
from DeepSegLogic.util.errors import ModelError

from .phantom import write_raw

pytest.importorskip("monai")


class Cubes(Dataset):
    """A bright cube (1) and a dark one (2) in noise; labels of which ``shown`` are kept."""

    def __init__(self, shown):
        self.shown = shown

    def __getitem__(self, n):
        rng = torch.Generator().manual_seed(n)
        labels = torch.zeros(8, 8, 8, dtype=torch.int16)
        z = int(torch.randint(0, 4, (1,), generator=rng))
        labels[z : z + 4, 0:4, 2:6], labels[z : z + 4, 4:8, 2:6] = 1, 2
        image = torch.randn(1, 8, 8, 8, generator=rng) + 2.0 * (labels == 1) - 2.0 * (labels == 2)
        keep = sum(labels == value for value in self.shown) > 0
        return image, torch.where(keep, labels, 0), 0


def small(classes):
    layers = [
        torch.nn.Conv3d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv3d(8, 8, 3, padding=1),
        torch.nn.ReLU(),
    ]
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(8, classes, 1))


def trained(network, shown, folder, steps, **more):
    options = Options(steps=steps, rate=1e-2, batch=4, half=False, every=1e9, average=0.5)
    training = Training(
        network,
        lambda patch: Cubes(shown),
        CaseLoss("dice-ce", [list(shown)]),
        folder,
        (8, 8, 8),
        options=options,
        **more,
    )
    training.run()
    return training.network.eval()


def dice_of(network, value):
    overlap = size = 0
    with torch.no_grad():
        for n in range(10_000, 10_020):
            image, labels, _ = Cubes((1, 2))[n]
            found, truth = network(image[None])[0].argmax(0) == value, labels == value
            overlap, size = overlap + 2 * int((found & truth).sum()), size + int(found.sum() + truth.sum())
    return overlap / size


def test_without_the_old_models_labels_it_forgets_more(tmp_path):
    torch.manual_seed(0)
    old = trained(small(2), (1,), tmp_path / "old", 60)
    before = dice_of(old, 1)
    after = {}
    for keep in (True, False):
        network = small(3)
        weights = network.state_dict()
        for name, tensor in old.state_dict().items():
            weights[name][: len(tensor)] = tensor
        network.load_state_dict(weights)
        also = ClassDistillation(old, 2, [(2,)], torch.device("cpu")) if keep else None
        new = trained(network, (2,), tmp_path / str(keep), 80, also=also)
        after[keep] = dice_of(new, 1), dice_of(new, 2)
    assert before > 0.8 and after[True][0] > before - 0.05 and after[True][1] > 0.8
    assert after[False][0] < after[True][0] - 0.05


def saved(folder, network="unet", structures=("liver", "spleen")):
    raw = write_raw(folder / "raw", 1, dict(enumerate(structures, 1)))
    plan = plan_training(check_cases(find_cases(raw), "CT"), network, width=8, patch=(16, 16, 16), spacing=(6, 6, 6))
    torch.manual_seed(1)
    net = build_network(plan.architecture, plan.outputs)
    write_results(folder / "model", net.state_dict(), plan, "Old", 1, {"network": network})
    return find_model(folder / "model")


@pytest.mark.parametrize("network", ["unet", "segnet", "mednext"])  # whose heads are transposed
def test_the_grown_network_finds_the_old_structures_as_before(tmp_path, network):
    card = saved(tmp_path, network)
    other = check_cases(find_cases(write_raw(tmp_path / "new", 2, {1: "liver", 2: "cyst"})), "CT")
    origin = begin_with(card, other)
    assert origin.plan.structures == ("liver", "spleen", "cyst") and origin.plan.network == network
    assert origin.plan.spacing == (6.0, 6.0, 6.0)
    new, slower = grown(origin)
    image = torch.randn(1, 1, *origin.plan.patch)
    with torch.no_grad():
        before, after = (net.eval()(image).softmax(1) for net in (origin.network, new))
    torch.testing.assert_close(after[:, 1:3], before[:, 1:3], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after[:, 0] + after[:, 3], before[:, 0], rtol=1e-3, atol=1e-4)
    heads = {name for name, _ in new.named_parameters()} - slower.keys()
    assert heads and all(4 in new.get_parameter(name).shape for name in heads)


def test_a_model_learns_a_structure_that_it_lacked(tmp_path):
    card = saved(tmp_path)
    report = check_cases(find_cases(write_raw(tmp_path / "new", 2, {1: "liver", 2: "cyst"})), "CT")
    origin = begin_with(card, report)
    train_model(report, origin.plan, tmp_path / "next", origin=origin, options=Options(steps=2))
    result = find_model(tmp_path / "next")
    assert result.structures == ["liver", "spleen", "cyst"]
    assert result.provenance["began_with"]["id"] == card.id and result.provenance["began_with"]["digest"]
    assert (work_folder(tmp_path / "next") / "training.csv").is_file()


def test_held_out_cases_that_the_model_to_begin_with_has_learnt_from_are_told(tmp_path):
    card = saved(tmp_path)
    report = check_cases(find_cases(write_raw(tmp_path / "new", 5, shape=(16, 24, 24))), "CT")
    images = [facts.digest for facts in report.cases]
    for name, seen, told in (
        ("all", images, ["The model model was trained on 1 of 1 held-out cases: their Dice is too high."]),
        ("others", ["sha256:1"], []),
    ):
        origin = begin_with(replace(card, provenance={"images": seen}), report)
        outcome = train_model(report, origin.plan, tmp_path / name, origin=origin, options=Options(steps=1))
        assert outcome.warnings == told


def test_a_model_that_cannot_be_trained_says_why(tmp_path):
    card = saved(tmp_path, "segnet")
    card.network["intensity"] = "rescale01"
    report = check_cases(find_cases(tmp_path / "raw"), "CT")
    with pytest.raises(ModelError, match="scales intensities"):
        begin_with(card, report)
