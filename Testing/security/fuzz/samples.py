"""Small sound files of every kind, from which the mutated ones are made."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

SHAPE = (4, 5, 6)
LABELS = (np.arange(120).reshape(SHAPE) % 5).astype(np.uint8)
VOXELS = (LABELS.astype(np.int16) * 300 - 1000).astype(np.int16)
SCENE = (
    '<MRML><Volume id="v" name="CT" references="storage:s;"/><VolumeArchetypeStorage id="s" fileName="Data/ct.nrrd"/>'
    '<Segmentation id="g" name="Organs" references="storage:t;referenceImageGeometryRef:v;"/>'
    '<SegmentationStorage id="t" fileName="Data/organs.seg.nrrd"/></MRML>'
)
PROMPTS = {
    "prompts": [
        {"structure": "liver", "type": "point", "positive": True, "ras": [1, 2.5, -3]},
        {"structure": "spleen", "type": "scribble", "ras": [[1, 2, 3], [4, 5, 6]], "radius_mm": 2},
        {"structure": "spleen", "type": "box", "positive": False, "ras": [[1, 2, 3], [4, 5, 6]]},
        {"structure": "liver", "type": "lasso", "ras": [[0, 0, 0], [9, 0, 0], [0, 9, 0]]},
    ],
    "locked": ["spleen"],
    "add": ["tumour"],
}


def nifti(folder: Path) -> list[bytes]:
    """Of several types of voxels, one with names, one with two positions."""
    from DeepSegLogic.data.label_map import LabelMap, Structure
    from DeepSegLogic.io import write_label_map

    made = []
    for kind in (np.int16, np.uint8, np.float32):
        image = nibabel.Nifti1Image(VOXELS.T.astype(kind), np.diag([-1, -2, 3, 1.0]))
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a comment"))
        made.append(image.to_bytes())
    path = folder / "named.nii"
    write_label_map(LabelMap(LABELS, np.eye(4), [Structure(1, "liver"), Structure(2, "spleen")]), path)
    return [*made, path.read_bytes()]


def written(folder: Path, suffix: str) -> list[bytes]:
    """As ITK writes them, plain and compressed."""
    made = []
    for array in (VOXELS, LABELS, VOXELS.astype(np.float64)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 2.0, 3.0))
        image.SetMetaData("modality", "CT")
        for packed in (False, True):
            path = folder / f"made{suffix}"
            sitk.WriteImage(image, str(path), useCompression=packed)
            made.append(path.read_bytes())
    return made


def segmentations(folder: Path) -> list[bytes]:
    """Of Slicer, and of ours."""
    import slicerio

    from DeepSegLogic.data.label_map import LabelMap, Structure
    from DeepSegLogic.io import write_label_map

    path = folder / "made.seg.nrrd"
    structures = [Structure(v, name) for v, name in enumerate(("liver", "kidney_left", "spleen", "aorta"), 1)]
    write_label_map(LabelMap(LABELS, np.diag([-1.0, -2, 3, 1]), structures), path)
    ours = path.read_bytes()
    content = slicerio.read_segmentation(str(path))
    content["encoding"] = "raw"
    slicerio.write_segmentation(str(path), content)
    return [ours, path.read_bytes()]


def slices(syntax=ExplicitVRLittleEndian) -> list[bytes]:
    """Of one series."""
    return [_saved(_slice(k, syntax)) for k in range(SHAPE[0])]


def deflated_slices() -> list[bytes]:
    """As :func:`slices`, compressed as a whole."""
    return slices(DeflatedExplicitVRLittleEndian)


def implicit_slices() -> list[bytes]:
    """As :func:`slices`, with types that the reader must know."""
    return slices(ImplicitVRLittleEndian)


def enhanced() -> list[bytes]:
    """All slices in one file."""
    data = _slice(0, ExplicitVRLittleEndian)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, tag)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames, data.PixelData = SHAPE[0], VOXELS.tobytes()
    shared = _within("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.update(_within("PixelMeasuresSequence", PixelSpacing=[0.8, 0.7], SliceThickness=2))
    data.SharedFunctionalGroupsSequence = [shared]
    places = range(SHAPE[0])
    data.PerFrameFunctionalGroupsSequence = [
        _within("PlanePositionSequence", ImagePositionPatient=[0, 0, 2 * k]) for k in places
    ]
    return [_saved(data)]


def scene_members(folder: Path) -> dict[str, list[bytes]]:
    """The files of a scene by name, each in some versions."""
    return {
        "scene/scene.mrml": [SCENE.encode()],
        "scene/Data/ct.nrrd": written(folder, ".nrrd"),
        "scene/Data/organs.seg.nrrd": segmentations(folder),
    }


def zipped(members: dict[str, bytes]) -> bytes:
    """An archive of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def probabilities(folder: Path) -> list[bytes]:
    """What `deepseg segment --save-probabilities` keeps."""
    from DeepSegLogic.data.probabilities import TopProbabilities
    from DeepSegLogic.io.probabilities import write_probabilities

    path = folder / "made.npz"
    top = TopProbabilities(np.stack([LABELS, LABELS]), np.stack([LABELS, LABELS]), np.eye(4), "sha256:0")
    write_probabilities(top, path)
    plain = io.BytesIO()
    np.savez(plain, **vars(top))
    return [path.read_bytes(), plain.getvalue()]


def prompts() -> list[bytes]:
    """Of each kind."""
    return [json.dumps(PROMPTS, indent=1).encode()]


def _slice(k: int, syntax) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{k}"
    meta.TransferSyntaxUID = syntax
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"1.2.3.{k}"
    data.Modality, data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = "CT", "Abdomen", 2, k + 1
    data.SeriesInstanceUID, data.ImageType = "1.2.3", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2 * k], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 2
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.Rows, data.Columns = SHAPE[1:]
    data.PixelData = VOXELS[k].tobytes()
    return data


def _saved(data: FileDataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def _within(name: str, **values) -> Dataset:
    """A functional group with one item."""
    group, item = Dataset(), Dataset()
    for tag, value in values.items():
        setattr(item, tag, value)
    setattr(group, name, [item])
    return group
