"""A training that begins with a model where structures of either overlap: what outputs begin as, what labels mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.io import write_label_map, write_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.networks.table import build_network
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import CaseFiles, find_cases
from DeepSegLogic.training.distillation import RegionDistillation
from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.prepared import prepare_cases
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.training.regions import Regions, combinations_of, regions_of
from DeepSegLogic.training.transfer import begin_with, grown
from DeepSegLogic.util.errors import ModelError

from .phantom import ball
from .test_overlaps import masks_of, write_slicer
from .test_transfer import saved

pytest.importorskip("monai")


def saved_regions(data, folder, network="unet"):
    plan = plan_training(check_cases(find_cases(data)), network, width=8, patch=(16, 16, 16), spacing=(6, 6, 6))
    torch.manual_seed(1)
    net = build_network(plan.architecture, plan.outputs)
    write_results(folder, net.state_dict(), plan, "Old", 1, {"network": network})
    return find_model(folder)


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlapping")
    write_slicer(folder, 0)
    return folder


def logits_of(origin):
    new, slower = grown(origin)
    image = torch.randn(1, 1, *origin.plan.patch)
    with torch.no_grad():
        return origin.network.eval()(image)[0], new.eval()(image)[0], slower


@pytest.mark.parametrize("network", ["unet", "mednext", "segnet"])
def test_a_softmax_becomes_the_logit_against_the_background(overlapping, tmp_path, network):
    origin = begin_with(saved(tmp_path, network), check_cases(find_cases(overlapping)))
    assert origin.exclusive and origin.plan.regions.values.keys() == {"liver", "spleen", "tumor"}
    before, after, slower = logits_of(origin)
    assert len(before) == len(after) == 3, "as many outputs, which mean something else"
    for name, channel in {"liver": 1, "spleen": 2}.items():
        ours = after[origin.plan.structures.index(name)]
        torch.testing.assert_close(ours, before[channel] - before[0], rtol=1e-3, atol=1e-4)
    new = after[origin.plan.structures.index("tumor")]
    assert new.std() > 0 and new.sigmoid().mean() < 0.1, "rare, and with something to learn from for the layers before"
    assert slower and not any(origin.plan.outputs in origin.network.get_parameter(n).shape[:1] for n in slower)


@pytest.mark.parametrize("network", ["unet", "segnet"])
def test_overlapping_outputs_go_on_as_they_were_also_under_a_larger_structure(overlapping, tmp_path, network):
    (tmp_path / "new").mkdir()
    card = saved_regions(overlapping, tmp_path / "model", network)
    volume, masks = masks_of(1)
    whole = ball(volume.array.shape, np.array(volume.array.shape) / 2, 11)
    write_slicer(tmp_path / "new", 1, {"abdomen": whole, "tumor": masks["tumor"]})
    origin = begin_with(card, check_cases(find_cases(tmp_path / "new")))
    names = origin.plan.structures
    assert set(names) == {"liver", "spleen", "tumor", "abdomen"} and not origin.exclusive
    assert names.index("abdomen") < names.index("tumor"), "else it would be written over the tumor"
    before, after, _ = logits_of(origin)
    for channel, name in enumerate(["liver", "spleen", "tumor"]):
        torch.testing.assert_close(after[names.index(name)], before[channel])


def test_a_model_whose_structures_overlap_learns_from_cases_without_overlaps(overlapping, tmp_path):
    card = saved_regions(overlapping, tmp_path / "model")
    (tmp_path / "new").mkdir()
    write_slicer(tmp_path / "new", 1, {"cyst": masks_of(1)[1]["spleen"]})
    report = check_cases(find_cases(tmp_path / "new"))
    assert report.regions is None
    plan = begin_with(card, report).plan
    assert plan.structures == ("liver", "spleen", "tumor", "cyst") and plan.outputs == 4
    [case] = prepare_cases(report.cases, plan, tmp_path / "cases")
    assert case.looked_for == (4,) and plan.regions.table()[3][case.labels].any()


@pytest.mark.parametrize(
    "said",
    [
        "liver",
        {"labels": {"background": 0, "liver": [1, 2]}, "regions_class_order": [1]},
        {"labels": {"background": 0, "liver": [1, "2"], "tumor": 2}, "regions_class_order": [1, 2]},
        {"labels": {"background": 0, "liver": [1, 2], "tumor": 2}, "regions_class_order": [7, 8]},
    ],
)
def test_a_card_that_does_not_say_how_structures_overlap_is_refused(overlapping, tmp_path, said):
    card = saved_regions(overlapping, tmp_path / "model", "segnet")
    card.network["regions"] = said
    with pytest.raises(ModelError, match="overlap"):
        begin_with(card, check_cases(find_cases(overlapping)))


def test_the_old_models_opinion_counts_where_nobody_looked():
    torch.manual_seed(0)
    images, logits = torch.randn(2, 1, 4, 4, 4), torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    labels = torch.zeros(2, 4, 4, 4, dtype=torch.int16)
    teacher = torch.nn.Conv3d(1, 3, 1)
    for exclusive, channels in ((True, {1: 1, 2: 2}), (False, {1: 0, 3: 2})):
        old = teacher(images).softmax(1) if exclusive else teacher(images).sigmoid()
        also = RegionDistillation(teacher, channels, exclusive, [(1,), ()], torch.device("cpu"))
        asked = {0: [n for n in channels if n != 1], 1: list(channels)}
        expected = sum(
            kl_divergence(Bernoulli(old[n, channels[a]]), Bernoulli(logits=logits[n, a - 1])).mean() / (2 * 3)
            for n, outputs in asked.items()
            for a in outputs
        )
        torch.testing.assert_close(also(images, logits, labels, [0, 1]), expected)
        same = torch.zeros(2, 3, 4, 4, 4)
        for a, channel in channels.items():
            same[:, a - 1] = torch.logit(old[:, channel])
        assert also(images, same.detach(), labels, [0, 1]).item() == pytest.approx(0, abs=1e-6)
        assert float(RegionDistillation(teacher, channels, exclusive, [(1, 2, 3)], torch.device("cpu"))(
            images[:1], logits[:1], labels[:1], [0]
        )) == 0  # fmt: skip


def test_what_is_added_is_written_over_what_is_larger():
    exclusive = Regions({"rib": (1,), "tissue": (2,), "spine": (3,)}, (1, 2, 3))
    found = {frozenset({"rib"}): 5, frozenset({"tissue"}): 900, frozenset({"rib", "ball"}): 2}
    joined = regions_of(found | {frozenset({"tissue", "ball"}): 50}, exclusive)
    assert [*joined.values] == ["tissue", "ball", "rib", "spine"]
    assert [dict(zip(joined.values, joined.order, strict=True))[n] for n in exclusive.values] == [1, 2, 3]
    nested = Regions({"a": (1, 2), "b": (2,)}, (1, 2))
    assert [*regions_of({frozenset({"a", "b", "c"}): 9, frozenset({"a"}): 1}, nested).values] == ["a", "b", "c"]


@pytest.mark.parametrize("seed", range(6))
def test_what_a_label_of_a_result_says_is_what_nnunets_rule_makes_sure(seed):
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"]
    found = {frozenset(n for n in names if rng.random() < 0.5): int(rng.integers(1, 99)) for _ in range(6)}
    regions = regions_of(found | {frozenset(): 9}, None)
    members = combinations_of(regions.values)
    assert set(members.values()) >= found.keys() - {frozenset()}
    result = {}  # by label that is written last: all combinations under it
    for own in members.values():
        label = next(v for v, name in reversed(list(zip(regions.order, regions.values, strict=True))) if name in own)
        result.setdefault(label, []).append(own)
    sure = sorted(sorted(frozenset.intersection(*owns)) for owns in result.values())
    assert sorted(map(sorted, regions.written().values())) == sure
    doubtful = {n for owns in result.values() for n in frozenset.union(*owns) - frozenset.intersection(*owns)}
    assert doubtful == regions.hidden()


def result_of(model, folder, labels, names):
    """A file with labels as a result of a model has them."""
    volume, _ = masks_of(0)
    write_volume(volume, folder / "ct.nii.gz")
    structures = [Structure(value, name, name) for value, name in names.items()]
    write_label_map(LabelMap(labels.astype(np.uint8), volume.ijk_to_ras, structures), folder / "labels.seg.nrrd")
    return CaseFiles("c", folder / "ct.nii.gz", folder / "labels.seg.nrrd", model=model)


def test_a_result_is_read_in_the_words_of_its_model(tmp_path):
    model = Regions({"liver": (1, 3), "spleen": (2,), "tumor": (3,)}, (1, 2, 3))
    _, masks = masks_of(0)
    labels = np.select([masks["tumor"], masks["spleen"], masks["liver"]], [3, 2, 1])
    names = {1: "liver_without_tumor", 2: "spleen", 3: "tumor", 4: "cyst"}
    files = result_of(model, tmp_path, labels, names)
    case = read_case(files)
    assert case.looked_for == {"liver", "spleen", "tumor", "cyst"}
    for name, mask in masks.items():
        assert np.array_equal(np.isin(case.labels, case.structures[name]), mask), name
    assert case.structures["cyst"] == (4,) or not case.structures["cyst"]

    some = read_case(replace(files, looked_for=frozenset({"liver_without_tumor", "cyst"})))
    assert some.looked_for == {"cyst"} and "that needs liver_without_tumor and tumor" in " ".join(some.warnings)
    report = check_cases([replace(files, looked_for=frozenset({"tumor"}))])
    assert report.structures == ["tumor"] and not report.errors
    plain = read_case(replace(files, model=None))
    assert "liver_without_tumor" in plain.structures, "of another model it is a structure like any other"


def test_what_others_are_written_over_is_not_learnt_from_a_result(tmp_path):
    model = Regions({"artery": (1, 3), "tumor": (2, 3)}, (1, 2))
    _, masks = masks_of(0)
    names = {1: "artery_without_tumor", 2: "tumor"}
    case = read_case(result_of(model, tmp_path, np.select([masks["tumor"], masks["liver"]], [2, 1]), names))
    assert case.looked_for == {"tumor"} and "artery is not learnt from this case" in " ".join(case.warnings)


def test_a_case_in_which_less_was_looked_for_needs_no_label_of_its_own(tmp_path):
    write_slicer(tmp_path, 0)
    write_slicer(tmp_path, 1, {"tumor": masks_of(1)[1]["tumor"]})
    report = check_cases(find_cases(tmp_path))
    assert report.regions == Regions({"liver": (1, 3), "spleen": (2,), "tumor": (3,)}, (1, 2, 3))
    plan = plan_training(report, width=8, patch=(16, 16, 16), spacing=(4, 4, 4))
    _, second = prepare_cases(report.cases, plan, tmp_path / "cases")
    assert second.looked_for == (3,) and plan.regions.table()[2][second.labels].any()
