"""Networks for several images of a case, beside those that take them as channels (early fusion).

Middle fusion: an encoder per image, whose features are joined at each level (as in HyperDense-Net, Dolz et al., IEEE
TMI 2019, arXiv:1804.02967, without its connections between the encoders). Late fusion: a network per image, whose
logits are averaged, or whose probabilities are (a vote).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .table import build_network
from .unet import build_unet

EARLY, MIDDLE, LATE, VOTE = "early", "middle", "late", "vote"
FUSIONS = (EARLY, MIDDLE, LATE, VOTE)


def fused(fusion: str, member: Mapping[str, Any], classes: int, inputs: int, regions: bool = False) -> dict[str, Any]:
    """The description of a network for several images, from that of one for one image.

    Args:
        fusion: ``"middle"``, ``"late"`` or ``"vote"``.
        member: of a U-Net for middle fusion.
        regions: whether structures overlap, so that each output has a sigmoid of its own.
    """
    name = {MIDDLE: "MiddleFusion", LATE: "LateFusion", VOTE: "VotingFusion"}[fusion]
    arguments = {"classes": classes, "inputs": inputs, "member": dict(member)}
    return {"name": name, "arguments": arguments | ({"regions": regions} if fusion == VOTE else {})}


class MiddleFusion(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X), by a U-Net with an encoder per image.

    A convolution over channels joins the features of each level. It begins as their mean.

    Args:
        classes: output channels.
        inputs: images.
        member: ``architecture`` entry of nnU-Net's plan, of the encoders and the decoder.
    """

    def __init__(self, classes: int, inputs: int, member: Mapping[str, Any]):
        super().__init__()
        networks = [build_unet(dict(member), 1, classes) for _ in range(inputs)]
        self.encoders = nn.ModuleList(network.encoder for network in networks)
        self.decoder = networks[0].decoder
        self.joins = nn.ModuleList()
        for width in member["arch_kwargs"]["features_per_stage"]:
            join = nn.Conv3d(inputs * width, width, 1)
            nn.init.zeros_(join.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                join.weight.copy_((torch.eye(width) / inputs).repeat(1, inputs)[..., None, None, None])
            self.joins.append(join)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.decoder.seg_layers[-1](self.decoder(self._joined(x)))
        return y

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Logits of each level of the decoder, fine to coarse, for deep supervision."""
        return self.decoder.levels(self._joined(x))

    def _joined(self, x: torch.Tensor) -> list[torch.Tensor]:
        each = [encoder(image) for encoder, image in zip(self.encoders, x.split(1, 1), strict=True)]
        return [join(torch.cat(level, 1)) for join, level in zip(self.joins, zip(*each, strict=True), strict=True)]


class LateFusion(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X): the mean over a network per image.

    Args:
        classes: output channels.
        inputs: images.
        member: description of a network for one image, see :func:`~.table.build_network`.
    """

    def __init__(self, classes: int, inputs: int, member: Mapping[str, Any]):
        super().__init__()
        if member.get("name") in (LateFusion.__name__, VotingFusion.__name__):
            raise ValueError("late fusion of late fusions")
        self.members = nn.ModuleList(build_network(member, classes) for _ in range(inputs))
        if all(hasattr(network, "levels") for network in self.members):
            self.levels = self._levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        each = [network(image) for network, image in zip(self.members, x.split(1, 1), strict=True)]
        return self._joined(torch.stack(each))

    def _levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Logits of each level of the decoders, fine to coarse, for deep supervision."""
        networks: Iterable[Any] = self.members
        each = [network.levels(image) for network, image in zip(networks, x.split(1, 1), strict=True)]
        return [self._joined(torch.stack(level)) for level in zip(*each, strict=True)]

    def _joined(self, each: torch.Tensor) -> torch.Tensor:
        return each.mean(0)


class VotingFusion(LateFusion):
    """As late fusion, but each image has one vote, which its network shares out by its probabilities (soft voting).

    So an image whose network is very sure outvotes none but one other. The logits are those of the mean probability.

    Args:
        classes, inputs, member: see :class:`LateFusion`.
        regions: see :func:`fused`.
    """

    def __init__(self, classes: int, inputs: int, member: Mapping[str, Any], regions: bool = False):
        super().__init__(classes, inputs, member)
        self.regions = regions

    def _joined(self, each: torch.Tensor) -> torch.Tensor:
        if self.regions:
            return functional.logsigmoid(each).logsumexp(0) - functional.logsigmoid(-each).logsumexp(0)
        return each.log_softmax(2).logsumexp(0) - math.log(len(each))
