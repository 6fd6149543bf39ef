"""Bundles of MONAI that detect: a RetinaNet in 3D, such as ``lung_nodule_ct_detection`` of MONAI's model zoo.

From the bundle come network, anchors, box coder, score threshold and suppression of overlaps within a window; DeepSeg
does the reading, resampling, windows and the way back to mm. A bundle's configuration is a program: it runs only if the
user trusts it.

Sources: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; https://docs.monai.io/en/stable/apps.html
"""

from __future__ import annotations

from typing import Any

import torch

from ..data.types import Shape
from ..models import ModelCard
from ..models.backends.monai_bundle import opened_bundle
from ..models.monai_plan import input_of
from ..models.plan import Plan, Resampling, triple
from ..util.errors import ModelError
from .detector import Detector, WindowBoxes

_WINDOW_STEPS = 8  # divisors along the edge of a window, for a bundle that names no window


def load(card: ModelCard) -> Detector:
    """Load a detection bundle that the user trusts, on the CPU.

    Raises:
        ModelError: it is not trusted, its configuration fails, or it has no RetinaNet detector.
    """
    with opened_bundle(card) as bundle:
        parser = bundle.parser
        if "detector" not in parser:
            raise ModelError(
                f"The bundle {card.id} has no detector in its configuration.",
                "Use a bundle that is laid out as MONAI's lung_nodule_ct_detection.",
                code="model.unsupported",
            )
        parser["device"] = "$torch.device('cpu')"
        network = bundle.network()
        detector: Any = parser.get_parsed_content("detector")
        if "detector_ops" in parser:
            parser.get_parsed_content("detector_ops")
        detector.network = network
        detector.eval()
        given = input_of(parser, card, unused=True)
        divisor = triple(int(d) for d in detector.size_divisible)
        plan = Plan(
            orientation=given.orientation,
            transpose=(2, 1, 0),  # MONAI's axes are (I, J, K)
            spacing=given.spacing,
            patch_size=_window(detector, divisor),
            normalization=given.normalization,
            labels=dict(enumerate(card.structures, start=1)),
            crop_to_nonzero=False,
            image_resampling=Resampling("torch", 1, 0, False),
        )

    def find(window: torch.Tensor, min_score: float) -> WindowBoxes:
        found = detector([window[0]], use_inferer=False)[0]
        scores = found[detector.pred_score_key]
        good = scores >= min_score
        boxes, labels = found[detector.target_box_key][good], found[detector.target_label_key][good]
        return WindowBoxes(boxes.float(), scores[good].float(), labels + 1)

    return Detector(card, plan, network.eval(), divisor, find)


def _window(detector: Any, divisor: Shape) -> Shape:
    inferer = getattr(detector, "inferer", None)
    size = getattr(inferer, "roi_size", None) or [_WINDOW_STEPS * d for d in divisor]
    size = [size] * 3 if isinstance(size, int) else size
    return triple(-(-int(s) // d) * d for s, d in zip(size, divisor, strict=True))
