"""A small CT series with structures, for tests of what is written beside it."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from DeepSegLogic import LabelMap, Structure
from DeepSegLogic.data.terminology import structure_for

SHAPE = (12, 48, 40)  # planes, rows, columns
OBLIQUE = np.array([0.96, 0.28, 0.0, -0.24192, 0.829440, 0.503488])  # rows and columns, at right angles
K, J, I = np.indices(SHAPE)  # noqa: E741 (the axes' own names)


def write_series(folder: Path, orientation=(1, 0, 0, 0, 1, 0), step=2.5, **tags) -> Path:
    """Slices (rows 0.9 mm, columns 0.8 mm apart), in an order that their names do not tell; ``tags`` on each."""
    folder.mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    row, column = np.split(np.array(orientation, float), 2)
    column -= row * (row @ column) / (row @ row)
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    for k in range(SHAPE[0]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
        d.PatientID, d.PatientName, d.PatientBirthDate, d.PatientSex = "P1", "Test^Case", "19700101", "O"
        d.StudyDate, d.StudyTime, d.StudyID, d.AccessionNumber = "20240102", "101010", "1", "A1"
        d.Modality, d.SeriesDescription, d.SeriesNumber, d.InstanceNumber = "CT", "Abdomen", 2, k + 1
        d.ReferringPhysicianName, d.Manufacturer, d.PositionReferenceIndicator = "", "Maker", ""
        d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        position = np.array([-50.0, -60.0, 30.0]) + k * step * np.cross(row, column)
        d.ImagePositionPatient = [round(float(p), 5) for p in position]
        d.ImageOrientationPatient = [round(float(o), 8) for o in (*row, *column)]
        d.PixelSpacing, d.SliceThickness = [0.9, 0.8], step
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 1, -1024, "HU"
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
        d.Rows, d.Columns = SHAPE[1:]
        d.PixelData = np.full(SHAPE[1:], 1000 + k, np.uint16).tobytes()
        for name, value in tags.items():
            if value is None:
                delattr(d, name)
            else:
                setattr(d, name, value)
        d.save_as(folder / f"IM{(k * 5) % SHAPE[0]:03}", enforce_file_format=True)
    return folder


def ball(center_kji, radius) -> np.ndarray:
    """A bool mask (K, J, I); the radius is in voxels."""
    return sum((a - c) ** 2 for a, c in zip((K, J, I), center_kji, strict=True)) <= radius**2


def organs(ijk_to_ras) -> LabelMap:
    """A liver with a hole in it, a left and a right kidney, on some planes only, and a lung that is not there."""
    names = ("liver", "kidney_left", "kidney_right", "lung_left")
    array = np.zeros(SHAPE, np.uint8)
    array[ball((6, 22, 20), 14) & (abs(K - 6) < 4)] = 5
    array[ball((6, 22, 20), 5)] = 0
    array[ball((7, 40, 6), 4)], array[ball((5, 5, 33), 4)] = 3, 2
    values = dict(zip(names, (5, 3, 2, 10), strict=True))
    return LabelMap(array, ijk_to_ras, [structure_for(name, values[name]) for name in names])


def overlapping(ijk_to_ras) -> LabelMap:
    """A liver with a lesion inside."""
    liver, lesion = Structure(1, "liver", "Liver"), Structure(2, "lesion", "Lesion")
    whole, part = ball((6, 22, 20), 14).astype(np.uint8), 2 * ball((6, 24, 22), 5).astype(np.uint8)
    layers = [LabelMap(whole, ijk_to_ras, [liver]), LabelMap(part, ijk_to_ras, [lesion])]
    return LabelMap(np.where(part, part, whole), ijk_to_ras, [liver, lesion], layers=layers)
