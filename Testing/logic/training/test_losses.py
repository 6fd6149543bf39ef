"""The losses against torch's and MONAI's where all is known, and what they do not punish where it is not."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from DeepSegLogic.training.losses import IGNORED, CaseLoss, RegionLoss, dice_and_cross_entropy


@pytest.fixture
def logits():
    return torch.randn(4, 300, generator=torch.Generator().manual_seed(0), requires_grad=True)


def known(labels, classes=4):
    return functional.one_hot(labels, classes).bool().T


def test_with_all_known_it_is_dice_plus_cross_entropy(logits):
    losses = pytest.importorskip("monai.losses")
    labels = torch.arange(300) % 4
    dice = losses.DiceLoss(include_background=False, softmax=True, to_onehot_y=True, smooth_nr=1, smooth_dr=1)
    expected = functional.cross_entropy(logits.T, labels) + dice(logits[None], labels[None, None])
    torch.testing.assert_close(dice_and_cross_entropy(logits, known(labels)), expected, rtol=1e-4, atol=0)


def test_nothing_is_learnt_where_all_is_possible(logits):
    allowed = known(torch.arange(300) % 4)
    allowed[:, :100] = True
    dice_and_cross_entropy(logits, allowed).backward()
    assert logits.grad[:, :100].abs().max() == 0 and logits.grad[:, 100:].abs().min() > 0


def test_what_was_not_looked_for_is_not_learnt_as_background(logits):
    """Class 3 was not looked for: what is not labelled is background or 3, and which of the two costs nothing."""
    labels = torch.arange(300) % 3
    allowed = known(labels)
    allowed[3, labels == 0] = True
    sure = torch.full((4, 300), -20.0)
    sure[labels, torch.arange(300)] = 20.0
    instead = sure.clone()
    instead[:, labels == 0] = instead[:, labels == 0][[3, 1, 2, 0]]
    for answer in (sure, instead):
        assert float(dice_and_cross_entropy(answer, allowed)) < 1e-3
    wrong = sure.clone()
    wrong[:, labels == 0] = wrong[:, labels == 0][[1, 0, 2, 3]]
    assert float(dice_and_cross_entropy(wrong, allowed)) > 1


def test_a_patch_without_anything_known_has_no_gradient(logits):
    loss = dice_and_cross_entropy(logits, torch.ones(4, 300, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().max() == 0


@pytest.mark.parametrize("weights", [(), (3.0, 0.5)])
@pytest.mark.parametrize("name", ["ce", "dice", "dice-ce", "focal", "dice-focal"])
def test_what_is_ignored_does_not_thin_out_what_is_not(name, weights):
    """With most of a patch ignored, as scribbles leave it, the loss is that of the rest by itself."""
    pytest.importorskip("monai.losses")
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 10, 6, 6, generator=rng)
    labels = torch.randint(0, 3, (2, 10, 6, 6), generator=rng)
    labels[:, 1:] = IGNORED
    loss = CaseLoss(name, [(1, 2)], weights)
    torch.testing.assert_close(loss(logits, labels, [0, 0]), loss(logits[:, :, :1], labels[:, :1], [0, 0]))
    if name == "ce":
        weight = torch.tensor([1.0, *weights]) if weights else None
        torch.testing.assert_close(
            loss(logits, labels, [0, 0]), functional.cross_entropy(logits, labels, weight, ignore_index=IGNORED)
        )
    regions = RegionLoss(name, [(1, 2)], np.array([[0, 1, 1], [0, 0, 1]], bool), weights)
    torch.testing.assert_close(
        regions(logits[:, 1:], labels, [0, 0]), regions(logits[:, 1:, :1], labels[:, :1], [0, 0])
    )


@pytest.mark.parametrize("name", ["ce", "dice-ce", "focal", "boundary"])
def test_a_patch_of_which_all_is_ignored_has_no_gradient(name):
    pytest.importorskip("monai.losses")
    logits = torch.randn(1, 3, 6, 6, 6, requires_grad=True)
    loss = CaseLoss(name, [(1, 2)])(logits, torch.full((1, 6, 6, 6), IGNORED), [0])
    loss.backward()
    assert torch.isfinite(loss) and logits.grad.abs().max() == 0
