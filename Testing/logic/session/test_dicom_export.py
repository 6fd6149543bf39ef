"""A result of a DICOM series, exported as DICOM by a real worker; and why that is not offered for others."""

import shutil

import dicom_series
import numpy as np
import pydicom
import pytest

from DeepSegLogic import read_label_map, read_volume
from DeepSegLogic.session import Phase

from .steps import wait

FACTS = {"model": {"id": "ct_organs", "version": "2.1"}}


def exported(session, folder, formats, **options):
    session.export(folder, formats, **options)
    return wait(session)


def test_a_result_of_a_series_is_written_beside_it(session, tmp_path):
    pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
    series = dicom_series.write_series(tmp_path / "ct")
    volume = read_volume(series)
    labels = dicom_series.organs(volume.ijk_to_ras)
    session.outcome.adopt(volume, labels, FACTS)
    assert session.outcome.why_no_dicom == ""
    run = exported(session, tmp_path / "out", ["dcm-seg", "rtstruct"], corrected=True)
    assert run.phase is Phase.DONE, run.error
    files = sorted(path.name for path in session.outcome.exported)
    assert files == ["segmentation.rtstruct.dcm", "segmentation.seg.dcm"]
    for path in session.outcome.exported:
        back = read_label_map(path, series)
        for structure in labels.structures[:3]:
            np.testing.assert_array_equal(back.mask(structure.name), labels.mask(structure.name))
    written = pydicom.dcmread(tmp_path / "out" / "segmentation.seg.dcm").SegmentSequence[0]
    assert (written.SegmentAlgorithmType, written.SegmentAlgorithmName) == ("SEMIAUTOMATIC", "DeepSeg ct_organs")

    shutil.rmtree(series)
    assert session.outcome.why_no_dicom == "The DICOM files of the CT are not there any more."
    run = exported(session, tmp_path / "out", ["rtstruct"])
    assert run.phase is Phase.FAILED and str(series) in str(run.error)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == files  # what was there stays


def test_other_volumes_have_no_series(session, chest_ct, tmp_path):
    assert session.outcome.why_no_dicom  # no result yet
    volume = read_volume(chest_ct)
    assert volume.source == ""
    session.outcome.adopt(volume, dicom_series.organs(volume.ijk_to_ras), FACTS)
    assert session.outcome.why_no_dicom == "The CT was not opened from DICOM files."
    series = dicom_series.write_series(tmp_path / "ct")
    packed = shutil.make_archive(str(tmp_path / "ct"), "zip", series)
    assert read_volume(packed).source == ""  # it is unpacked for a moment only
    assert read_volume(packed) == read_volume(series)  # wherever it lies
    assert read_volume(next(series.iterdir())).source.startswith(str(series))
