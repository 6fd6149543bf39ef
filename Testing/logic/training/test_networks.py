"""Every network that can be trained: it fits its plan, learns, and is a model that the engine runs."""

from dataclasses import replace

import pytest
import torch

from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.networks.mamba import scan
from DeepSegLogic.networks.table import TRAINABLE, build_network
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.losses import CaseLoss, over_levels
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.recipe import initialize
from DeepSegLogic.training.run import require_packages
from DeepSegLogic.util.errors import ResourceError

from .phantom import case
from .test_planning import report

pytest.importorskip("monai")


@pytest.mark.parametrize("name", TRAINABLE)
def test_it_learns_is_saved_loaded_and_segments(name, tmp_path):
    try:
        require_packages(name)
    except ResourceError as error:
        pytest.skip(str(error))
    plan = plan_training(report(), name, width=8, spacing=(4, 4, 4), patch=(32, 32, 32))
    if name == "swin-unetr":
        assert plan.patch == (64, 64, 64)
        plan = replace(plan, patch=(32, 32, 64))  # a quarter is enough to learn from
    else:
        assert plan.patch == (32, 32, 32)
    torch.manual_seed(0)
    network = build_network(plan.architecture, 3)
    initialize(network)
    volume, labels = case(0, shape=plan.patch)
    rule = plan.normalization
    image = (torch.from_numpy(volume.array).float().clamp(rule.lower, rule.upper) - rule.mean) / rule.sd
    loss, optimizer = CaseLoss("dice-ce", [[1, 2]]), torch.optim.SGD(network.parameters(), 1e-2)
    found = []
    for _ in range(3):
        levels = network.levels(image[None, None]) if hasattr(network, "levels") else [network(image[None, None])]
        assert levels[0].shape == (1, 3, *plan.patch)
        value = over_levels(loss, levels, torch.from_numpy(labels)[None].to(torch.int16), [0])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(float(value.detach()))
    assert found[2] < found[1] < found[0]
    if name != "unetr":  # MONAI's has norms that it does not use
        assert all(parameter.grad is not None for parameter in network.parameters())

    write_results(tmp_path / "model", network.state_dict(), plan, "Two balls", 1, {"steps": 3})
    card = find_model(tmp_path / "model")
    assert card.structures == ["liver", "spleen"] and card.spacing == [4.0, 4.0, 4.0] and card.modality == "CT"
    loaded = load_model(card)
    with torch.no_grad():
        expected, got = network.eval()(image[None, None]), loaded.networks[0](image[None, None])
    torch.testing.assert_close(got, expected, rtol=0, atol=0.02 * float(expected.abs().max()))  # half precision
    result = segment(volume, loaded, device="cpu")
    agreement = (result.label_map.array == expected[0].argmax(0).numpy()).mean()
    assert agreement > 0.97


def test_the_scan_is_the_recurrence_it_stands_for():
    rng = torch.Generator().manual_seed(0)
    x, b, c = (torch.randn(2, 150, *shape, generator=rng) for shape in ((3, 4), (5,), (5,)))
    decay = -torch.rand(2, 150, 3, generator=rng)
    state, expected = torch.zeros(2, 3, 4, 5), []
    for t in range(150):
        state = decay[:, t].exp()[..., None, None] * state + x[:, t, ..., None] * b[:, t, None, None]
        expected.append((state * c[:, t, None, None]).sum(-1))
    torch.testing.assert_close(scan(x, decay, b, c), torch.stack(expected, 1), rtol=1e-4, atol=1e-4)
