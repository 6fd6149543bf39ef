"""Patients made of ellipsoids, whose volumes are known exactly, on any grid."""

from dataclasses import dataclass, replace

import numpy as np

from DeepSegLogic import LabelMap, Structure, TimePoint, Volume

STRAIGHT, STILL = np.eye(3), np.eye(4)


@dataclass(frozen=True)
class Body:
    """An ellipsoid: centre and half axes along R, A, S, mm; its HU."""

    name: str
    centre: tuple
    radii: tuple
    hu: float = 60.0

    @property
    def ml(self):
        return 4 / 3 * np.pi * np.prod(self.radii) / 1000

    def grown(self, factor):
        """The same with this many times the volume."""
        return replace(self, radii=tuple(np.array(self.radii) * factor ** (1 / 3)))


ORGANS = (
    Body("liver", (35, 5, 10), (30, 24, 26), 100),
    Body("spleen", (-40, -15, 15), (16, 20, 24), 110),
    Body("kidney_right", (28, -25, -35), (12, 11, 20), 150),
    Body("kidney_left", (-30, -22, -30), (12, 12, 19), 150),
    Body("aorta", (0, -18, 0), (7, 7, 50), 200),
)


def grid(spacing, size=140.0, turn=STRAIGHT, centre=(0, 0, 0)):
    """Shape (K, J, I) and matrix of a cube of ``size`` mm around a place."""
    shape = tuple(int(np.ceil(size / s)) for s in spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(spacing)
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape[::-1], matrix


def time_point(bodies, shape, matrix, motion=STILL, *, scan=False, confidence=None, bend=None):
    """Bodies of one name are one structure; ``motion`` moves the patient, 4×4, RAS mm; ``bend`` then moves points."""
    ijk = np.indices(shape)[::-1].reshape(3, -1)
    places = matrix[:3, :3] @ ijk + matrix[:3, 3:]
    if bend is not None:
        places = bend(places)
    back = np.linalg.inv(motion)
    places = back[:3, :3] @ places + back[:3, 3:]
    names = list(dict.fromkeys(b.name for b in bodies))
    labels, hu = np.zeros(places.shape[1], np.uint8), np.full(places.shape[1], -100.0)
    for body in bodies:
        inside = (((places - np.reshape(body.centre, (3, 1))) / np.reshape(body.radii, (3, 1))) ** 2).sum(0) <= 1
        labels[inside], hu[inside] = names.index(body.name) + 1, body.hu
    structures = [Structure(n, name, name.replace("_", " ").capitalize()) for n, name in enumerate(names, 1)]
    volume = Volume(hu.reshape(shape).astype(np.int16), matrix) if scan else None
    return TimePoint(LabelMap(labels.reshape(shape), matrix, structures), volume, confidence or {})


def motion(angles_deg, shift):
    """4×4 rigid motion, RAS mm."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix
