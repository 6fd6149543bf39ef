"""Pre-training without labels: what is covered is restored, and a training begins with the encoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.cli.train_views import cases_table
from DeepSegLogic.io import write_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.contrast import Contrasted, TwoViews
from DeepSegLogic.training.covering import Covered, restoration_loss
from DeepSegLogic.training.dataset import find_cases, find_images
from DeepSegLogic.training.encoder import read_encoder
from DeepSegLogic.training.patches import Patches
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.prepared import PreparedCase
from DeepSegLogic.training.pretraining import look_at_images
from DeepSegLogic.training.recipe import Recipe
from DeepSegLogic.util.errors import InputError, ModelError

from .phantom import case, write_raw

pytest.importorskip("monai")
OPTIONS = ["--device", "cpu", "--quiet", "--batch", "1"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed in (5, 6):
        volume, _ = case(seed, shape=(16, 24, 24))
        write_volume(volume, folder / f"scan_{seed}.nii.gz")
    write_volume(volume, folder / "scan_5_seg.nii.gz")
    return folder


@pytest.fixture(scope="module")
def encoder(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "encoder"
    command = ["pretrain", str(images), "-o", str(output), *OPTIONS, "--steps", "3"]
    assert main([*command, "--patch", "16,16,16", "--spacing", "4"]) == 0
    return output


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return check_cases(find_cases(write_raw(tmp_path_factory.mktemp("data") / "raw", 2, shape=(16, 24, 24))), "CT")


def test_images_are_found_without_labels(images, tmp_path):
    assert [path.name for path in find_images(images)] == ["scan_5.nii.gz", "scan_6.nii.gz"]
    (tmp_path / "file").touch()
    for nothing, said in (("", "has no images"), ("absent", "There is no folder"), ("file", "not a folder")):
        with pytest.raises(InputError, match=said):
            find_images(tmp_path / nothing)


def test_tables_of_images_without_labels_tell_of_no_structures(images, report):
    shown = [
        [column.header for column in cases_table(r).columns] for r in (look_at_images(find_images(images)), report)
    ]
    assert shown[0] == ["Case", "Voxels", "Spacing (mm)", "Remark"]
    assert shown[1] == ["Case", "Voxels", "Spacing (mm)", "Structures", "Looked for", "Remark"]
    plan = plan_training(report, width=8)
    assert "Structures" in dict(plan.lines()) and "Structures" not in dict(replace(plan, structures=()).lines())


def test_one_image_is_counted_as_one(images):
    told = []
    look_at_images(find_images(images)[:1], lambda stage, share, detail: told.append(detail))
    assert told[-1] == "1 image"


def test_the_loss_sees_covered_voxels_only(tmp_path):
    image = np.random.default_rng(0).normal(size=(1, 20, 24, 24)).astype(np.float16)
    np.save(tmp_path / "0_image.npy", image)
    np.save(tmp_path / "0_labels.npy", np.zeros(image.shape[1:], np.int16))
    patches = Patches([PreparedCase("one", tmp_path / "0", {}, ())], (32, 16, 16), (1, 1, 1), augment=False)
    plain, labels, _ = patches[3]
    shown, wanted, _ = Covered(patches)[3]
    covered = torch.isfinite(wanted)
    assert (labels < 0).any() and not covered[labels < 0].any(), "not beyond the image"
    shares = [
        torch.isfinite(w)[own >= 0].float().mean()
        for w, own in ((Covered(patches)[n][1], patches[n][1]) for n in range(40))
    ]
    assert 0.5 < np.mean(shares) < 0.7
    assert torch.equal(wanted[covered], plain[0][covered]) and (shown[0][covered] == 0).all()
    assert torch.equal(shown[0][~covered], plain[0][~covered])
    assert torch.equal(torch.isfinite(Covered(patches)[3][1]), covered), "the same whenever it is asked for"
    guess = torch.randn(1, 1, 32, 16, 16, requires_grad=True)
    loss = restoration_loss(guess, wanted[None], [0])
    assert loss.item() == pytest.approx((guess[0, 0] - wanted)[covered].abs().mean().item(), rel=1e-5)
    loss.backward()
    assert (guess.grad[0, 0] != 0).equal(covered)


def test_a_training_begins_with_the_encoder(encoder, report, tmp_path):
    found = read_encoder(encoder, report, batch=1)
    assert found.plan.structures == ("liver", "spleen") and found.plan.patch == (16, 16, 16)
    network, slower, also = Recipe(report, found.plan, None, encoder=found).network([(1, 2), (1, 2)])
    assert not slower and also is None
    weights = network.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in found.weights.items())
    assert {name for name in weights if name.startswith("encoder.")} == set(found.weights)
    other, _, _ = Recipe(report, found.plan, None).network([(1, 2), (1, 2)])
    assert not all(torch.equal(other.state_dict()[name], tensor) for name, tensor in found.weights.items())
    raw = report.cases[0].files.image.parents[1]
    command = ["train", str(raw), "-o", str(tmp_path / "lab"), "--from", str(encoder), *OPTIONS, "--steps", "2"]
    assert main(command) == 0
    assert find_model(tmp_path / "lab").provenance["began_with"] == {"encoder": found.digest}
    assert main([*command, "--network", "unet"]) == 2


def test_what_cannot_be_is_refused_and_what_was_there_stays(encoder, report, images, tmp_path):
    before = (encoder / "encoder.pth").read_bytes()
    changed = {"steps": "1", "patch": "24,16,16", "spacing": "4"}
    options = [text for name, value in changed.items() for text in (f"--{name}", value)]
    assert main(["pretrain", str(images), "-o", str(encoder), *OPTIONS, *options]) == 3, "another plan"
    assert (encoder / "encoder.pth").read_bytes() == before
    assert main(["pretrain", str(images), "-o", str(tmp_path / "x"), *OPTIONS, "--network", "segresnet"]) == 2
    assert not (tmp_path / "x").exists()
    report.modality, modality = "MR", report.modality
    with pytest.raises(ModelError, match="pre-trained on CT"):
        read_encoder(encoder, report)
    report.modality = modality
    folder = tmp_path / "damaged"
    folder.mkdir()
    facts = json.loads((encoder / "pretrained.json").read_text("utf-8"))
    for wrong in ({**facts, "patch": [16, 16]}, {**facts, "shape": None}, {}, {**facts, "architecture": {"name": "x"}}):
        (folder / "encoder.pth").write_bytes(before)
        (folder / "pretrained.json").write_text(json.dumps(wrong), "utf-8")
        with pytest.raises(ModelError, match="cannot be used"):
            read_encoder(folder, report)
    (folder / "pretrained.json").write_text(json.dumps(facts), "utf-8")
    torch.save({"encoder.x": torch.zeros(1)}, folder / "encoder.pth")
    with pytest.raises(ModelError, match="weights are not those"):
        read_encoder(folder, report)


def closed_formula(one, other, temperature=0.5):
    """SimCLR's loss, written out."""
    views = torch.nn.functional.normalize(torch.cat([one, other]), dim=1)
    total = 0.0
    for n in range(len(views)):
        similar = [float(views[n] @ views[m]) / temperature for m in range(len(views))]
        partner = (n + len(one)) % len(views)
        total -= similar[partner] - np.log(sum(np.exp(s) for m, s in enumerate(similar) if m != n))
    return total / len(views)


def test_the_contrast_is_simclrs_of_two_views_of_the_same_crop(encoder, report, tmp_path):
    image = np.random.default_rng(0).normal(size=(1, 20, 24, 24)).astype(np.float16)
    np.save(tmp_path / "0_image.npy", image)
    np.save(tmp_path / "0_labels.npy", np.zeros(image.shape[1:], np.int16))
    patches = Patches([PreparedCase("one", tmp_path / "0", {}, ())], (16, 16, 16), (1, 1, 1), augment=False)
    views, wanted, _ = TwoViews(patches)[3]
    shown, only, _ = Covered(patches)[3]
    assert torch.equal(views[:1], shown) and torch.equal(wanted.isnan(), only.isnan())
    assert views.shape == (2, 16, 16, 16) and not torch.equal(views[0] == 0, views[1] == 0), "covered elsewhere"
    again = TwoViews(patches)[3][0]
    assert torch.equal(again, views), "the same whenever it is asked for"

    found = read_encoder(encoder, report, batch=2)
    network, _, _ = Recipe(report, found.plan, None, encoder=found).network([(1, 2), (1, 2)])
    both = Contrasted(network, found.plan.architecture["arch_kwargs"]["features_per_stage"][-1])
    batch = torch.stack([TwoViews(patches)[n][0] for n in range(3)])
    value = both.loss(batch, None, None, [0, 0, 0])
    with torch.no_grad():
        one, other = (both.projection(network.encoder(view)[-1]).flatten(1) for view in batch.split(1, 1))
    assert float(value.detach()) == pytest.approx(0.1 * closed_formula(one, other), rel=1e-4)
    value.backward()
    assert network.encoder.stages[0][0].convs[0].conv.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.decoder.parameters())
    torch.testing.assert_close(both(batch), network(batch[:, :1]))


def test_contrast_pretrains_an_encoder_that_a_training_takes(images, report, tmp_path):
    command = ["pretrain", str(images), "-o", str(tmp_path / "e"), "--device", "cpu", "--quiet", "--contrast"]
    sizes = ["--steps", "2", "--patch", "16,16,16", "--spacing", "4"]
    assert main([*command, *sizes, "--batch", "1"]) == 2 and not (tmp_path / "e").exists()
    assert main([*command, *sizes, "--batch", "2"]) == 0
    found = read_encoder(tmp_path / "e", report)
    assert found.plan.batch == 2 and all(name.startswith("encoder.") for name in found.weights)
