"""Store what nnU-Net's own predictor makes of a model, for ``Testing/logic/inference/test_agreement.py``.

python predict_reference.py --model Resources/Models/ct_demo --data ../shared/data --out Testing/data/nnunet_reference
"""

import argparse
import hashlib
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import SimpleITK as sitk
import slicerio
import torch
from training import declare_torchvision_operators


def images(data: Path, folder: Path) -> dict[str, Path]:
    """The CTs as NIfTI, which the model's reader wants; grids and voxels unchanged."""
    chest = Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"
    series = sitk.ImageSeriesReader()
    series.SetFileNames(series.GetGDCMSeriesFileNames(str(data / "abdomen_ct_dicom" / "series")))
    found = {"chest": sitk.ReadImage(str(chest)), "dicom": series.Execute()}
    paths = {"abdomen": data / "abdomen_ct" / "ct.nii.gz"}
    for name, image in found.items():
        paths[name] = folder / f"{name}_0000.nii.gz"
        sitk.WriteImage(image, str(paths[name]))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    declare_torchvision_operators()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(options.model), None)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, path in images(options.data, Path(folder)).items():
            target = Path(folder) / f"{name}_labels"
            predictor.predict_from_files_sequential([[str(path)]], [str(target)], False, True)
            image = sitk.Cast(sitk.ReadImage(f"{target}.nii.gz"), sitk.sitkUInt8)
            sitk.WriteImage(image, str(options.out / f"{name}.nii.gz"), useCompression=True)
    weights = (options.model / "fold_0" / "checkpoint_final.pth").read_bytes()
    facts = {
        "checkpoint": f"sha256:{hashlib.sha256(weights).hexdigest()}",
        "nnunetv2": version("nnunetv2"),
        "torch": version("torch").split("+")[0],
        "settings": "tile_step_size=0.5, Gaussian, no mirroring, CPU",
    }
    (options.out / "manifest.json").write_text(json.dumps({options.model.name: facts}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
