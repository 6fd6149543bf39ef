"""Surfaces as DICOM Encapsulated STL, read back by pydicom and trimesh, checked by dciodvfy."""

import io
import shutil
import subprocess

import dicom_series
import numpy as np
import pydicom
import pytest
import trimesh

from DeepSegLogic import LabelMap, read_label_map, read_volume
from DeepSegLogic.surfaces.dicom_stl import write_dicom_stl
from DeepSegLogic.util.errors import InputError, UsageError

FACTS = {"model": {"id": "ct_organs", "version": "2.1"}}


def written(folder) -> dict:
    return {path.name: pydicom.dcmread(path) for path in sorted(folder.iterdir())}


def mesh_in(data) -> trimesh.Trimesh:
    stl = data.EncapsulatedDocument[: data.EncapsulatedDocumentLength]
    return trimesh.load(io.BytesIO(stl), file_type="stl")


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), dicom_series.OBLIQUE], ids=["straight", "oblique"])
def test_each_structure_is_an_object_where_the_ct_has_it(tmp_path, orientation):
    series = dicom_series.write_series(tmp_path / "ct", orientation)
    labels = dicom_series.organs(read_volume(series).ijk_to_ras)
    write_dicom_stl(labels, tmp_path / "out", source=series, provenance=FACTS)
    found, slice_ = written(tmp_path / "out"), pydicom.dcmread(next(series.iterdir()))
    assert found.keys() == {f"{name}.stl.dcm" for name in ("liver", "kidney_left", "kidney_right")}  # no empty lung
    for name, data in found.items():
        assert data.SOPClassUID == pydicom.uid.EncapsulatedSTLStorage
        for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert data[keyword].value == slice_[keyword].value
        assert data.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
        mesh, mask = mesh_in(data), labels.mask(name.split(".")[0])
        assert mesh.is_watertight
        assert mesh.volume / 1000 == pytest.approx(np.count_nonzero(mask) * labels.voxel_ml, rel=0.05)
        ijk = np.argwhere(mask)[:, ::-1].mean(0)
        lps = (labels.ijk_to_ras @ [*ijk, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(mesh.center_mass, lps, atol=0.3)
    liver = found["liver.stl.dcm"]
    assert (liver.DocumentTitle, liver.ConceptNameCodeSequence[0].CodeMeaning) == ("Liver", "Liver")
    assert len({data.SeriesInstanceUID for data in found.values()}) == 1
    assert len({data.SOPInstanceUID for data in found.values()}) == 3


def test_dciodvfy_finds_no_errors(tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (apt-get install dicom3tools)")
    series = dicom_series.write_series(tmp_path / "ct", StudyDescription="Abdomen")
    labels = dicom_series.organs(read_volume(series).ijk_to_ras)
    write_dicom_stl(labels, tmp_path / "out", source=series, provenance=FACTS, corrected=True)
    for path in (tmp_path / "out").iterdir():
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "EncapsulatedSTL" in checked.stderr
        assert [line for line in checked.stderr.splitlines() if line.startswith("Error")] == []


def test_real_organs(shared_data, tmp_path):
    folder = shared_data / "abdomen_ct_dicom"
    labels = read_label_map(folder / "labels.nii.gz")
    few = [s for s in labels.structures if s.name in ("spleen", "vertebrae_L1", "adrenal_gland_left")]
    kept = np.where(np.isin(labels.array, [s.value for s in few]), labels.array, 0).astype(labels.array.dtype)
    write_dicom_stl(LabelMap(kept, labels.ijk_to_ras, few), tmp_path, source=folder / "series")
    found = written(tmp_path)
    assert len(found) == sum(bool(labels.mask(s.name).any()) for s in few) > 0
    for name, data in found.items():
        known = np.count_nonzero(labels.mask(name.split(".")[0])) * labels.voxel_ml
        assert mesh_in(data).volume / 1000 == pytest.approx(known, rel=0.01)


def test_what_cannot_be_written(tmp_path, chest_ct):
    series = dicom_series.write_series(tmp_path / "ct")
    labels = dicom_series.organs(read_volume(series).ijk_to_ras)
    empty = LabelMap(labels.array * 0, labels.ijk_to_ras, labels.structures)
    with pytest.raises(UsageError, match="no surfaces"):
        write_dicom_stl(empty, tmp_path / "out", source=series)
    with pytest.raises(InputError, match="not a DICOM series"):
        write_dicom_stl(labels, tmp_path / "out", source=chest_ct)
    bare = dicom_series.write_series(tmp_path / "bare", FrameOfReferenceUID=None)
    with pytest.raises(InputError, match="no frame of reference"):
        write_dicom_stl(labels, tmp_path / "out", source=bare)
    assert not (tmp_path / "out").exists()
