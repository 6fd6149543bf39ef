"""The inputs in ../shared/cases, made after public reports: each is read rightly, or refused in words that help.

One line a case: what must be said (a warning of a case that is read, or the refusal), as a pattern. ``READ`` cases have
the voxels and the place of their ``truth.npz``, if they have one.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic.io import read_label_map, read_volume, write_label_map
from DeepSegLogic.surfaces import write_surfaces
from DeepSegLogic.util.errors import InputError

CASES = Path(__file__).parents[3].parent / "shared" / "cases"
NOTHING = "^$"
READ = {
    "01-presentation-state": NOTHING,
    "02-study-with-everything": NOTHING,
    "02b-registration": NOTHING,
    "03b-latin1-two-series": "Schädel nativ",
    "05-boundary-slice-twice": r"Two acquisitions have a slice at the same place.*not Z\.dcm",
    "07b-description-changes": NOTHING,
    "07c-description-half": NOTHING,
    "12-modality-lut": NOTHING,
    "12h-rescale-type-not-hu": "not HU: the header says ED",
    "14-bolus-tracking-longer": "Not used: Monitoring",
    "14b-derived-main": "Not used: PreMonitoring",
    "14h-scout-in-series": r"Not used:.*LOCALIZER.*Z\.dcm",
    "15d-position-lost-at-end": r"not used: IM077\.dcm has no ImagePositionPatient",
    "16-zip": NOTHING,
    "16b-split-folders": NOTHING,
    "18-microct-9um": NOTHING,
    "18d-blank-modality": NOTHING,
    "30-scl-slope-nan-inter-1024": "an intercept but no slope",
    "30-scl-zero-slope-inter": "an intercept but no slope",
    "31-sform-not-orthonormal": "nearest rectangular grid",
    "31b-sform-not-orthonormal-small": "nearest rectangular grid",
    "31d-pixdim-contradicts-sform": "two voxel sizes.*sform is used",
    "33i-units-millimeter": NOTHING,
    "62-cohort-two-patients-flat": "2 series, of 2 patients. The longest is used",
    "36d-microct-35um": NOTHING,
    "18g-descending-z-dups-of-other-size": "as after lossy compression",
}
REFUSED = {
    "04-two-acquisitions-interleaved": "2 series of the same length: .*acquisition [12].*acquisition [12]",
    "04b-two-kernels-interleaved": "kernel B30f.*kernel B70f",
    "06-two-patients-blank-uids": "of 2 patients",
    "12f-slope-zero": r"rescale slope of .*IM000\.dcm is 0",
    "15-no-position-slicelocation": r"IM000\.dcm has no ImagePositionPatient \(12 of 12",
    "15b-comma-decimals": r"IM000\.dcm has numbers with a decimal comma",
    "15f-pixelspacing-missing": r"IM000\.dcm has no PixelSpacing",
    "17i-multiframe-without-positions": r"MF\.dcm does not state the position of each of its frames",
    "34f-mhd-list": "leads to other files",
    "60-cohort-tcia": "2 series of the same length",  # read one by one: see test_cohort_cases.py
}

OVERLAP = "overlap. Each is kept whole"
LABELS = {  # what is said; structures and their volumes in ml
    "40-overlap-body-last": (OVERLAP, {"liver": 4.32, "tumor": 0.144, "body": 16.8}),
    "41b-name-only": (OVERLAP, {"liver": 4.32, "tumor": 0.144}),
    "41c-one-old": (NOTHING, {"liver": 4.32}),
    "41e-no-metadata": (NOTHING, {"segment_1": 4.176, "segment_2": 0.144}),
    "41g-tag-without-colon": (NOTHING, {"liver": 4.32}),
    "42b-label-0": ("background has the label value 0", {"liver": 4.32}),
    "42d-label-70000": (NOTHING, {"liver": 4.176, "tumor": 0.144}),
    "44b-space-LPS": (NOTHING, {"liver": 4.32}),
    "44b-space-RAS": (NOTHING, {"liver": 4.32}),
    "44b-space-left-anterior-superior": (NOTHING, {"liver": 4.32}),
    "44c-spacings-only": ("orientation", {"liver": 4.32}),
    "44d-no-geometry": ("no voxel size; 1 mm is assumed", {"liver": 1.44}),
    "45-seg-renamed-nrrd": (NOTHING, {"heart": 4.176, "myocarditis": 0.144}),
    "70-label-nifti-two-positions": ("states two positions", {"spleen": 4.32}),
    "70b-label-nifti-no-forms": ("does not state the patient's orientation", {"spleen": 4.32}),
    "70c-label-nrrd-no-spacing": ("no voxel size; 1 mm is assumed", {"spleen": 1.44}),
}
CORNERS = {  # RAS of the first voxel
    "44b-space-LPS": (10, 20, 30),
    "44b-space-RAS": (-10, -20, 30),
    "44b-space-left-anterior-superior": (10, -20, 30),
}
NO_LABELS = {
    "42-same-label": "tumor in .* has the same label value as liver",
    "42h-fractional": "fractional segments",
    "70d-label-tiff": "TIFF picture, which has no voxel size",
}


def source(name):
    if not CASES.is_dir():
        pytest.skip("needs the cases in ../shared/cases, which are not beside this checkout")
    folder = CASES / name / "in"
    files = [p for p in folder.rglob("*") if p.is_file()]
    headers = [p for p in files if p.suffix == ".mhd"]
    return headers[0] if headers else files[0] if len(files) == 1 else folder


@pytest.mark.parametrize("name", READ)
def test_a_volume_is_read(name):
    volume = read_volume(source(name))
    truth = CASES / name / "truth.npz"
    if truth.is_file():
        with np.load(truth) as content:
            np.testing.assert_array_equal(volume.array, content["hu"])
            # Half a voxel at the far corner, for grids that were made rectangular.
            corners = np.stack(np.meshgrid(*([0, n - 1] for n in volume.shape_ijk), [1]), -1).reshape(-1, 4).T
            off = (volume.ijk_to_ras - content["ras"]) @ corners
            assert np.abs(off[:3]).max() <= 0.5 * volume.spacing_ijk.min()
    np.testing.assert_array_less(0, volume.array.shape)
    said = " ".join(volume.warnings)
    assert not said.encode("utf-8", "replace").count(b"?")
    assert re.search(READ[name], said), said


@pytest.mark.parametrize("name", REFUSED)
def test_a_volume_is_refused(name):
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        read_volume(source(name))
    assert caught.value.remedy


@pytest.mark.parametrize("name", LABELS)
def test_a_label_map_is_read(name):
    label_map = read_label_map(source(name))
    said, volumes = LABELS[name]
    assert {s.name: round(label_map.volume_ml(s.name), 3) for s in label_map.structures} == volumes
    assert re.search(said, " ".join(label_map.warnings))
    if name in CORNERS:
        np.testing.assert_allclose(label_map.ijk_to_ras[:3, 3], CORNERS[name])


@pytest.mark.parametrize("name", NO_LABELS)
def test_a_label_map_is_refused(name):
    with pytest.raises(InputError, match=NO_LABELS[name]):
        read_label_map(source(name))


def test_names_of_all_kinds_make_one_safe_file_each(tmp_path):
    label_map = read_label_map(source("43-names"))
    written = write_surfaces(label_map, tmp_path / "s", ["stl"])
    files = [p.name for p in written.files[:-1]]
    assert len({f.casefold() for f in files}) == len(label_map.structures)
    for file in files:
        assert len(file.encode()) <= 255 and not re.search(r'[<>:"/\\|?*\0-\x1f]', file), file
        assert file[0] not in ".-" and file.split(".")[0].upper() not in ("CON", "NUL", "AUX", "PRN")
    assert "Liver/Tumor" in {s.title for s in label_map.structures}
    write_label_map(label_map, tmp_path / "copy.seg.nrrd")
    again = read_label_map(tmp_path / "copy.seg.nrrd")
    assert [s.title for s in again.structures] == [s.title for s in label_map.structures]


def test_surfaces_too_far_from_the_origin_are_not_called_sound(tmp_path):
    with pytest.raises(InputError, match="lie 1000001 mm from the origin"):
        write_surfaces(read_label_map(source("50c-far-origin")), tmp_path / "s", ["stl"])
