"""CT made from label maps, by domain randomisation.

A network that has seen every organ in every plausible contrast, texture and noise recognises it by its shape and
place, also in scans of a kind that was not at hand (SynthSeg: Billot et al., Medical Image Analysis 2023,
doi:10.1016/j.media.2023.102789). Here the contrasts are those of CT: Hounsfield units per tissue and contrast phase.
Label maps rarely hold a body: muscle, fat, skin and the air around it are made up. Axes are (Z, Y, X) of a RAS grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from .fields import noise, smooth_noise

AIR = -1000.0
KINDS = {  # how the names of structures begin that are made of a tissue; the first that fits counts
    "lung": ("lung",),
    "trachea": ("trachea",),
    "rib": ("rib", "costal", "sternum", "scapula", "clavicula"),
    "bone": ("vertebra", "sacrum", "hip", "femur", "humerus", "skull", "bone"),
    "muscle": ("gluteus", "autochthon", "iliopsoas", "muscle"),
    "fat": ("fat",),
    "air": ("air",),
    "vein": ("inferior_vena", "superior_vena", "brachiocephalic_vein", "iliac_vena", "vein"),
    "portal": ("portal",),
    "artery": ("aorta", "brachiocephalic_trunk", "subclavian", "common_carotid", "iliac_artery", "artery"),
    "heart": ("heart", "atrial", "pulmonary_vein"),
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidney": ("kidney_left", "kidney_right"),
    "pancreas": ("pancreas",),
    "fluid": ("gallbladder", "kidney_cyst", "fluid"),
    "bladder": ("urinary_bladder",),
    "bowel": ("stomach", "duodenum", "small_bowel"),
    "colon": ("colon",),
    "thyroid": ("thyroid",),
    "nerve": ("brain", "spinal_cord"),
    "soft": ("",),
}
SD = {"bone": 50.0, "rib": 70.0, "lung": 25.0, "fat": 9.0, "bowel": 18.0, "colon": 40.0, "air": 0.0, "trachea": 10.0}
PHASES = {"plain": 0.4, "arterial": 0.2, "venous": 0.4}


def kind_of(name: str) -> str:
    """The tissue of a structure, by its name."""
    return next(kind for kind, starts in KINDS.items() if name.startswith(starts))


def tissue_values(rng: np.random.Generator) -> dict[str, float]:
    """Mean HU of every tissue in one imaginary scan: a patient, and a phase of the contrast medium."""
    u = rng.uniform
    phase = rng.choice(list(PHASES), p=list(PHASES.values()))
    oral = rng.random() < 0.15
    values = {
        "air": AIR,
        "trachea": u(-1000, -930),
        "lung": u(-900, -650),
        "fat": u(-120, -80),
        "muscle": u(35, 70),
        "bone": u(100, 380),
        "rib": u(120, 500),
        "fluid": u(-5, 25),
        "bladder": u(100, 400) if phase != "plain" and rng.random() < 0.2 else u(-5, 25),
        "bowel": u(100, 400) if oral else u(-20, 60),
        "colon": u(100, 400) if oral and rng.random() < 0.5 else u(-40, 50),
        "thyroid": u(60, 180),
        "nerve": u(20, 45),
        "soft": u(20, 60),
        "liver": u(0, 40) if rng.random() < 0.2 else u(42, 70),
        "pancreas": u(15, 50),
    }
    if phase == "plain":
        blood = u(28, 52)
        values |= dict.fromkeys(("artery", "vein", "portal", "heart"), blood)
        values |= {"kidney": u(22, 42), "spleen": u(35, 58)}
    elif phase == "arterial":
        values["artery"] = u(180, 420)
        values |= {"heart": values["artery"] * u(0.5, 1), "vein": u(50, 200), "portal": u(50, 150)}
        values |= {"kidney": u(100, 220), "spleen": u(80, 160)}
        values["liver"] += u(0, 20)
        values["pancreas"] += u(20, 70)
    else:
        values["artery"] = blood = u(100, 190)
        values |= {"heart": blood * u(0.85, 1.1), "vein": blood * u(0.7, 1.1), "portal": blood * u(0.9, 1.2)}
        values |= {"kidney": u(130, 240), "spleen": u(90, 140)}
        values["liver"] += u(25, 65)
        values["pancreas"] += u(20, 60)
        values["muscle"] += u(0, 15)
    return values


def paint(
    labels: torch.Tensor, names: list[str], depth: torch.Tensor | None, spacing: float, rng: np.random.Generator
) -> torch.Tensor:
    """A CT of a label map, before its scanner (:func:`scanned`).

    Args:
        labels: (Z, Y, X) uint8, indices of ``names``.
        names: of the labels; the first one is what has no label.
        depth: (Z, Y, X) mm outside (inside: below 0) of the hull of all that is labelled, for maps without a body;
            None if fat, muscle and the air around the body are labelled.
        spacing: mm.

    Returns:
        (Z, Y, X) float32 HU.
    """
    values = tissue_values(rng)
    kinds = [kind_of(name) for name in names]
    index = labels.long()
    mean = torch.tensor([values[k] + rng.normal(0, 4) for k in kinds], dtype=torch.float32)
    spread = torch.tensor([SD.get(k, 8.0) * rng.uniform(0.5, 1.5) for k in kinds], dtype=torch.float32)
    texture = 0.8 * smooth_noise(labels.shape, 12 / spacing, rng) + 0.6 * noise(labels.shape, rng)
    image = mean[index] + spread[index] * texture

    def among(*wanted: str) -> torch.Tensor:
        return torch.tensor([k in wanted for k in kinds])[index]

    bone, ribs = among("bone"), among("rib")
    rim = bone & (_near(~bone, 1))
    image = torch.where(rim, image + rng.uniform(0, 400) * (1 + 0.3 * texture), image)
    if depth is not None:
        image = _with_body(image, labels == 0, depth, ribs, values, texture, spacing, rng)
    image = _with_gas(image, among("bowel"), among("colon"), spacing, rng)
    return _with_lung_vessels(image, among("lung"), values, spacing, rng)


def _near(mask: torch.Tensor, voxels: int) -> torch.Tensor:
    return functional.max_pool3d(mask[None, None].float(), 2 * voxels + 1, 1, voxels)[0, 0] > 0


def _with_body(
    image: torch.Tensor,
    free: torch.Tensor,
    depth: torch.Tensor,
    ribs: torch.Tensor,
    values: dict[str, float],
    texture: torch.Tensor,
    spacing: float,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Fat, muscle and vessels between the organs; wall, fat and skin around them; air and what lies in it."""
    shape = image.shape
    soft = values["muscle"] + rng.uniform(-10, 10) + 10 * texture
    if rng.random() < 0.1:  # ascites
        soft = rng.uniform(0, 22) + 6 * texture
    fat = values["fat"] + 9 * texture
    share = smooth_noise(shape, rng.uniform(8, 25) / spacing, rng)
    muscle = share > rng.uniform(-0.3, 1.3)
    muscle |= _near(ribs, max(1, round(8 / spacing))) & (share > -1)
    wall = rng.uniform(2, 18) * (1 + 0.4 * smooth_noise(shape, 60 / spacing, rng))
    muscle = torch.where(depth > 0, depth < wall, muscle)
    filled = torch.where(muscle, soft, fat)
    surface = wall.clamp(min=2) + rng.uniform(3, 40) * (1 + 0.5 * smooth_noise(shape, 120 / spacing, rng)).clamp(
        min=0.2
    )
    filled = torch.where(depth > surface - 0.6 * spacing, rng.uniform(-40, 50) + 10 * texture, filled)
    image = torch.where(free, filled, image)
    outside = free & (depth > surface)
    return torch.where(outside, _surroundings(outside, spacing, rng), image)


def _surroundings(outside: torch.Tensor, spacing: float, rng: np.random.Generator) -> torch.Tensor:
    """Air, with a table behind the patient and now and then an arm or a blanket."""
    shape = outside.shape
    air = torch.full(shape, AIR)
    z, y, x = torch.meshgrid(*(torch.arange(n) * spacing for n in shape), indexing="ij")
    body = (~outside).nonzero()
    if not len(body):
        return air
    low, high = body.min(0).values * spacing, body.max(0).values * spacing
    if rng.random() < 0.8:
        below = float(low[1]) - rng.uniform(0, 15) + rng.uniform(0, 1.5e-3) * (x - x.mean()) ** 2 - y
        shell, thick = rng.uniform(1, 5), rng.uniform(10, 60)
        air = torch.where((below > 0) & (below < thick), torch.tensor(rng.uniform(-1000, -850)), air)
        rims = ((below > 0) & (below < shell)) | ((below > thick - shell) & (below < thick))
        air = torch.where(rims, torch.tensor(rng.uniform(-700, 200)), air)
    for side in (low[2], high[2]):
        if rng.random() < 0.35:
            radius = rng.uniform(30, 55)
            middle = float(side) + (radius + rng.uniform(0, 10)) * (-1 if side == low[2] else 1)
            lean = rng.uniform(-0.3, 0.3) * (z - z.mean())
            away = ((x - middle - lean) ** 2 + (y - rng.uniform(float(low[1]), float(high[1]))) ** 2).sqrt()
            for part, value in ((1, 0), (0.95, -100), (0.75, 50), (0.3, 500), (0.18, 100)):
                air = torch.where(away < radius * part, value + 20 * noise(shape, rng), air)
    if rng.random() < 0.3:
        cloth = smooth_noise(shape, 20 / spacing, rng).abs() < 0.05
        air = torch.where(cloth, torch.tensor(rng.uniform(-950, -600)), air)
    return air


def _with_gas(
    image: torch.Tensor, bowel: torch.Tensor, colon: torch.Tensor, spacing: float, rng: np.random.Generator
) -> torch.Tensor:
    """Gas in stomach and bowel, most of it in front; stool in the colon."""
    front = torch.linspace(-1, 1, image.shape[1])[None, :, None] * rng.uniform(0, 1)
    gas = smooth_noise(image.shape, rng.uniform(15, 50) / spacing, rng) + front
    stool = smooth_noise(image.shape, rng.uniform(5, 12) / spacing, rng)
    image = torch.where(colon, image - rng.uniform(0, 120) * stool.clamp(min=0), image)
    inside = (bowel & (gas > rng.uniform(0.7, 3))) | (colon & (gas > rng.uniform(-0.3, 2)))
    return torch.where(inside, rng.uniform(-1000, -800) + 15 * stool, image)


def _with_lung_vessels(
    image: torch.Tensor, lung: torch.Tensor, values: dict[str, float], spacing: float, rng: np.random.Generator
) -> torch.Tensor:
    """Vessels where two fields are near zero at once: thin curves."""
    scale = rng.uniform(12, 30) / spacing
    width = rng.uniform(0.1, 0.35)
    a, b = (smooth_noise(image.shape, scale, rng) for _ in range(2))
    vessel = lung & (a.abs() < width) & (b.abs() < width)
    image = torch.where(vessel, values["heart"] - rng.uniform(0, 250) + 20 * a, image)
    back = torch.linspace(1, 0, image.shape[1])[None, :, None] * rng.uniform(0, 150)  # lungs are denser behind
    return torch.where(lung & ~vessel, image + back, image)


def scanned(image: torch.Tensor, spacing: float, rng: np.random.Generator) -> torch.Tensor:
    """What a scanner makes of it: slices, kernel, shading, noise, the field of view. HU in, HU out."""
    shape = image.shape
    sharp = rng.uniform(0, 0.7)
    image = _blurred(image, [rng.uniform(0, 0.7) if rng.random() < 0.6 else rng.uniform(0.5, 1.2), sharp, sharp])
    if rng.random() < 0.15:  # thick slices, next neighbour
        thick = max(2, round(rng.uniform(7, 12) / spacing))
        image = image[(torch.arange(shape[0]) // thick * thick + thick // 2).clamp(max=shape[0] - 1)]
    image = image * rng.uniform(0.97, 1.03) + rng.normal(0, 5)
    image = image + rng.uniform(0, 12) * smooth_noise(shape, 100 / spacing, rng)
    grain = noise(shape, rng) if rng.random() < 0.7 else smooth_noise(shape, 2, rng)
    image = image + float(np.exp(rng.uniform(np.log(3), np.log(50)))) * grain
    if rng.random() < 0.15:
        y, x = torch.meshgrid(*(torch.arange(n) - n * rng.uniform(0.35, 0.65) for n in shape[1:]), indexing="ij")
        image = torch.where((y**2 + x**2).sqrt() > max(shape[1:]) * rng.uniform(0.4, 0.7), torch.tensor(AIR), image)
    return image.clamp(-1024, 3071)


def _blurred(image: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Gaussian blur, sigmas in voxels along (Z, Y, X)."""
    reach = torch.arange(-3.0, 4.0)
    for axis, sigma in enumerate(sigmas):
        kernel = torch.exp(-0.5 * (reach / max(sigma, 0.05)) ** 2)
        shape = [1] * 5
        shape[2 + axis] = len(reach)
        padding = [0] * 6
        padding[5 - 2 * axis - 1] = padding[5 - 2 * axis] = 3
        padded = functional.pad(image[None, None], padding, mode="replicate")
        image = functional.conv3d(padded, (kernel / kernel.sum()).view(shape))[0, 0]
    return image
