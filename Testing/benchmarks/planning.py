"""How fast a plan follows the hand: a plane dragged through an organ at 512×512×400, and distances.

    python Testing/benchmarks/planning.py

The organ is an ellipsoid of 1.5 l at 0.75 × 0.75 × 0.8 mm, a large liver, with a vessel and a lesion in it. Times are
medians of three or ten on the clock, in seconds.
"""

import statistics
import time

import numpy as np

from DeepSegLogic import Ellipsoid, LabelMap, Organ, Plane, Structure
from DeepSegLogic.planning import FreeSurface, diameters, distance, distance_map, margin, vessel_diameters

SHAPE, SPACING = (400, 512, 512), (0.75, 0.75, 0.8)  # (K, J, I); mm along (I, J, K)
REPEATS = 10


def liver():
    grid = np.diag([*SPACING, 1.0])
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    x, y, z = (axis * s for axis, s in zip((i, j, k), SPACING, strict=True))
    array = np.zeros(SHAPE, np.uint8)
    array[((x - 150) / 95) ** 2 + ((y - 190) / 70) ** 2 + ((z - 160) / 54) ** 2 < 1] = 1
    array[((x - 150) ** 2 + (y - 190) ** 2 < 36) & (np.abs(z - 160) < 50)] = 2
    array[(x - 190) ** 2 + (y - 190) ** 2 + (z - 165) ** 2 < 225] = 3
    names = "liver", "portal_vein", "liver_tumor"
    return LabelMap(array, grid, [Structure(v, name, name) for v, name in enumerate(names, start=1)])


def timed(what, call, repeats=REPEATS):
    seconds = []
    for number in range(repeats):
        begin = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - begin)
    print(f"| {what} | {statistics.median(seconds):.3f} | {max(seconds):.3f} |", flush=True)


def main():
    label_map = liver()
    print(f"{np.count_nonzero(label_map.array == 1):,} voxels, {label_map.volume_ml('liver'):.0f} ml\n")
    print("| step | median | worst |\n|---|---|---|")
    timed("prepare the organ, once", lambda _: Organ(label_map, "liver"), 3)
    organ = Organ(label_map, "liver")

    def plane(number):
        return Plane((150.0 + number, 190.0, 160.0), (1.0, 0.1 * number, 0.2))

    def surface(number):
        points = [(r, a, 160.0 + number * (r == a)) for r in (60.0, 150.0, 240.0) for a in (120.0, 190.0, 260.0)]
        return FreeSurface(tuple(points), (0.0, 0.0, 1.0))

    timed("volumes after a plane was moved", lambda n: organ.cut([plane(n)]))
    timed("volumes after one of three planes was moved", lambda n: organ.cut([plane(n), plane(2), plane(7)]))
    timed(
        "volumes after an ellipsoid was moved",
        lambda n: organ.cut([Ellipsoid((150.0 + n, 190.0, 160.0), (40, 30, 20))]),
    )
    timed("volumes after a point of a surface was moved", lambda n: organ.cut([surface(n)]))
    timed("label map of the parts", lambda n: organ.divided([plane(n)]), 3)
    timed("distance of lesion and vessel", lambda _: distance(label_map, "liver_tumor", "portal_vein"), 3)
    timed("distance of lesion and organ's surface", lambda _: distance(label_map, "liver_tumor", "liver"), 3)
    timed("distance map of lesion and vessel", lambda _: distance_map(label_map, "liver_tumor", "portal_vein"), 3)
    timed("distance map of organ and vessel", lambda _: distance_map(label_map, "liver", "portal_vein"), 3)
    timed("diameters of the vessel along its center line", lambda _: vessel_diameters(label_map, "portal_vein"), 3)
    timed("diameters of the organ", lambda _: diameters(label_map, "liver"), 3)
    timed("margin of 10 mm around the lesion", lambda _: margin(label_map, "liver_tumor", 10), 3)


if __name__ == "__main__":
    main()
