"""The contrast phase from the structures of a segmentation.

The order of enhancement is that of CT/MRI LI-RADS v2018 (American College of Radiology): in the arterial phase the
arteries are enhanced more than the portal vein; in the portal venous phase veins and liver are enhanced, too. Blood
without contrast medium has 30 to 60 HU (Bae, Radiology 256 (2010) 32, doi:10.1148/radiol.10090908). The margins between
the phases are ours: in them the answer is "don't know".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..data.label_map import LabelMap
from ..data.volume import Volume

ARTERIES = ("aorta", "iliac_artery_left", "iliac_artery_right", "heart_atrium_left", "heart")
VEINS = ("portal_vein_and_splenic_vein", "inferior_vena_cava")
KIDNEYS = ("kidney_left", "kidney_right")
LEAST_VOXELS = 50

UNENHANCED_HU, ENHANCED_HU = 65.0, 80.0  # of arteries
KIDNEY_HU = 70.0  # above it a kidney took up contrast medium
LESS, ALIKE = 0.65, 0.8  # of the veins, as a share of the arteries
BRIGHT_ARTERY_HU, ENHANCED_LIVER_HU = 200.0, 80.0  # without a vein to compare with


def median_hu(label_map: LabelMap, volume: Volume) -> dict[str, float]:
    """The median HU of each structure that the rule looks at, if it has 50 voxels at least.

    Args:
        label_map, volume: on the same grid.
    """
    wanted = {*ARTERIES, *VEINS, *KIDNEYS, "liver"}
    greys = ((s.name, volume.array[label_map.mask(s.name)]) for s in label_map.structures if s.name in wanted)
    return {name: float(np.median(values)) for name, values in greys if len(values) >= LEAST_VOXELS}


def phase_from(medians: Mapping[str, float]) -> str:
    """``"plain"``, ``"arterial"``, ``"venous"`` (portal venous or later), or ``""`` if the structures do not tell.

    Args:
        medians: HU by the name of the structure, see :func:`median_hu`.

    Example:
        >>> from DeepSegLogic.classify.phase_rule import phase_from
        >>> phase_from({"aorta": 41, "inferior_vena_cava": 40, "kidney_left": 17})
        'plain'
        >>> phase_from({"aorta": 310, "portal_vein_and_splenic_vein": 120})
        'arterial'
        >>> phase_from({"aorta": 72})
        ''
    """
    artery = next((medians[name] for name in ARTERIES if name in medians), None)
    kidney = max((medians[name] for name in KIDNEYS if name in medians), default=0.0)
    if artery is None or (artery < UNENHANCED_HU and kidney > KIDNEY_HU):
        return ""
    if artery < UNENHANCED_HU:
        return "plain"
    if artery < ENHANCED_HU:
        return ""
    vein = next((medians[name] for name in VEINS if name in medians), None)
    if vein is not None:
        return "arterial" if vein < LESS * artery else "venous" if vein > ALIKE * artery else ""
    if artery > BRIGHT_ARTERY_HU:
        return "arterial"
    return "venous" if medians.get("liver", 0.0) > ENHANCED_LIVER_HU else ""
