"""A session and a real archive: series found, fetched, and results sent by a real worker."""

import dicom_series
import numpy as np
import orthanc
import pydicom
import pytest

from DeepSegLogic import read_label_map, read_volume, write_rtstruct
from DeepSegLogic.io.dicom.archive_settings import ArchiveSettings
from DeepSegLogic.io.dicom.web_archive import Archive
from DeepSegLogic.session import Phase
from DeepSegLogic.util.errors import UsageError

from .steps import wait

pytest.importorskip("dicomweb_client", reason='needs dicomweb-client (pip install -e ".[archive]")')
pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
FACTS = {"model": {"id": "ct_organs", "version": "2.1"}}


def test_a_series_comes_and_its_result_goes(session, tmp_path, monkeypatch):
    series = dicom_series.write_series(tmp_path / "ct")
    fetched = []
    session.archive.fetched.connect(fetched.append)
    with orthanc.running(tmp_path) as url:
        settings = ArchiveSettings(url, user=orthanc.USER, password=orthanc.PASSWORD)
        archive = Archive(settings)
        archive.send(sorted(series.iterdir()))
        for name in ("url", "user", "password"):
            monkeypatch.setenv(f"DEEPSEG_PACS_{name.upper()}", getattr(settings, name))

        session.archive.find(" P1 ")
        with pytest.raises(UsageError, match="A task is running"):
            session.archive.find("P1")
        assert wait(session).phase is Phase.DONE, session.jobs.run.error
        (one,) = session.archive.found
        assert (one.modality, one.images) == ("CT", 12)
        with pytest.raises(UsageError, match="was not found"):
            session.archive.fetch("1.2.3", tmp_path / "in")
        session.archive.fetch(one.series, tmp_path / "in")
        assert wait(session).phase is Phase.DONE, session.jobs.run.error
        assert fetched == [(one, tmp_path / "in")]
        volume = read_volume(tmp_path / "in")
        assert volume == read_volume(series)

        with pytest.raises(UsageError, match="Nothing to export"):
            session.send(["sr"])
        labels = dicom_series.organs(volume.ijk_to_ras)
        session.outcome.adopt(volume, labels, FACTS)
        session.send(["dcm-seg", "rtstruct", "sr"], corrected=True)
        with pytest.raises(UsageError, match="A task is running"):
            session.send(["sr"])
        assert wait(session).phase is Phase.DONE, session.jobs.run.error
        assert session.jobs.run.summary == "Files sent to the archive: 3."
        sent = {found.modality: found for found in archive.find(patient="P1")}
        assert sent.keys() == {"CT", "SEG", "RTSTRUCT", "SR"}
        for modality in ("SEG", "RTSTRUCT"):
            archive.fetch(sent[modality].series, tmp_path / modality)
            back = read_label_map(tmp_path / modality, series)
            for structure in labels.structures[:3]:
                np.testing.assert_array_equal(back.mask(structure.name), labels.mask(structure.name))

    session.send(["rtstruct"])  # the archive is down
    assert wait(session).phase is Phase.FAILED
    assert "connection" in session.jobs.run.error.message and session.outcome.result is not None
    session.archive.fetch(one.series, tmp_path / "half")
    assert wait(session).phase is Phase.FAILED and not (tmp_path / "half").exists()


def test_a_segmentation_of_another_patient_leaves_the_result(session, tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    volume = read_volume(series)
    labels = dicom_series.organs(volume.ijk_to_ras)
    write_rtstruct(labels, tmp_path / "organs.dcm", source=series)
    with pytest.raises(UsageError, match="no volume to show"):
        session.outcome.open(tmp_path / "organs.dcm", None)
    session.outcome.open(tmp_path / "organs.dcm", volume)
    assert wait(session).phase is Phase.DONE, session.jobs.run.error
    assert session.outcome.volume is volume
    assert (session.outcome.result.label_map.mask("liver") == labels.mask("liver")).all()
    write_rtstruct(labels, tmp_path / "again.dcm", source=series, provenance=session.outcome.result.provenance)
    roi = pydicom.dcmread(tmp_path / "again.dcm").StructureSetROISequence[0]
    assert (roi.ROIGenerationAlgorithm, roi.ROIGenerationDescription) == ("SEMIAUTOMATIC", "Unknown")
    before = session.outcome.result
    other = read_volume(dicom_series.write_series(tmp_path / "other", PatientID="P2"))
    session.outcome.open(tmp_path / "organs.dcm", other)
    assert wait(session).phase is Phase.FAILED
    assert "different patients" in session.jobs.run.error.message and session.outcome.result is before
