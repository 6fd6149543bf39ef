"""Which label maps a folder of results holds."""

import fnmatch

import dicom_series
import numpy as np
import pytest

from DeepSegLogic import Result, read_label_map, read_volume
from DeepSegLogic.cli import main
from DeepSegLogic.results.folder import export_result, write_outputs
from DeepSegLogic.results.label_files import LABEL_FORMATS, check_labels
from DeepSegLogic.util.errors import InputError, UsageError
from DeepSegLogic.util.progress import ignore_progress, never_cancel


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return dicom_series.write_series(tmp_path_factory.mktemp("labels") / "ct", StudyInstanceUID=None)


def test_all_formats_hold_the_same_voxels(series, tmp_path):
    pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
    volume = read_volume(series)
    result = Result(dicom_series.organs(volume.ijk_to_ras), {}, {}, provenance={"model": {"id": "ct_organs"}})
    options = {"source": series, "formats": [], "progress": ignore_progress, "cancel": never_cancel}
    _, names = write_outputs(tmp_path / "out", volume, result, labels=list(LABEL_FORMATS), **options)
    assert all(fnmatch.filter(names, name) for name in LABEL_FORMATS.values())
    assert len([w for w in result.warnings if "StudyInstanceUID" in w]) == 1, "told once for all DICOM files"
    for name in (name for kind, name in LABEL_FORMATS.items() if kind not in ("sr", "dcm-stl")):  # which hold no voxels
        back = read_label_map(tmp_path / "out" / name, series)
        for structure in ("liver", "kidney_left", "kidney_right"):
            np.testing.assert_array_equal(back.mask(structure), result.label_map.mask(structure), name)


def test_export_writes_dicom_where_the_series_is_known(series, tmp_path):
    volume = read_volume(series)
    labels = dicom_series.organs(volume.ijk_to_ras)
    with pytest.raises(InputError, match="needs the DICOM series"):
        export_result(tmp_path / "out", labels, volume, ["rtstruct", "csv"])
    assert not (tmp_path / "out").exists()
    written = export_result(tmp_path / "out", labels, volume, ["rtstruct", "csv"], source=series)
    assert [p.name for p in written] == ["measurements.csv", "segmentation.rtstruct.dcm"]


def test_unknown_formats_are_refused():
    with pytest.raises(UsageError, match="not a label map format"):
        check_labels(["dicom"], None)


def test_the_command_line_refuses_before_it_segments(chest_ct, tmp_path, capsys):
    command = ["segment", str(chest_ct), "-o", str(tmp_path / "out"), "--format", "nii.gz,rtstruct"]
    assert main(command) != 0
    assert "is not a DICOM series" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))
