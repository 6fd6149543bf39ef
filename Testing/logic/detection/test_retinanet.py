"""A bundle of MONAI's model zoo layout runs end to end and gives what MONAI itself gives."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("monai", reason='needs MONAI (pip install -e ".[detection]")')

from DeepSegLogic import ModelError, Volume, detect, find_model, write_volume
from DeepSegLogic.detection.detector import load_detector
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import code_files, needs_trust, trust

from .bundle import SPACING, importable_torchvision, inference_config, write_bundle


@pytest.fixture
def bundle(tmp_path):
    pytest.importorskip("torchvision", exc_type=ImportError) if _lacks_torchvision() else None
    return write_bundle(tmp_path / "lung_nodule_ct_detection")


def _lacks_torchvision():
    from importlib.util import find_spec

    return find_spec("torchvision") is None


def speckled(shape, matrix, seed=0):
    """A CT of smooth noise from air to bone."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return Volume((noise / noise.std() * 400 - 300).clip(-1024, 1500).astype(np.int16), matrix, "speckled", "CT")


def by_monai(folder, volume, tmp_path):
    """Boxes (N, 6) as centre and size in RAS mm and scores: the bundle's own transforms and detector, by MONAI."""
    importable_torchvision()
    from monai.bundle import ConfigParser

    config = inference_config()
    config["whether_raw_luna16"] = True  # resample, as for raw images
    for entry in ("evaluator", "inferer", "handlers"):
        del config[entry]
    for step in config["preprocessing"]["transforms"]:
        if step["_target_"] == "LoadImaged":  # nibabel for both: ITK's Python package is not installed
            step.pop("reader", None), step.pop("affine_lps_to_ras", None)
    config["postprocessing"]["transforms"][1]["affine_lps_to_ras"] = False  # nibabel's affine is RAS already
    parser = ConfigParser(config)
    write_volume(volume, tmp_path / "ct.nii.gz")
    image = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "ct.nii.gz")})["image"]
    network, detector = (parser.get_parsed_content(name) for name in ("network_def", "detector"))
    parser.get_parsed_content("detector_ops")
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    detector.eval()
    with torch.no_grad():
        found = detector([image], use_inferer=False)[0]
    data = {name: found[name] for name in ("box", "label", "label_scores")} | {"image": image}
    done = parser.get_parsed_content("postprocessing")(data)
    return np.asarray(done["box"]), np.asarray(done["label_scores"])


def test_its_card_tells_what_it_is(bundle):
    card = find_model(bundle)
    assert (card.task, card.finds_boxes, card.modality, card.backend) == ("detection", True, "CT", "monai")
    assert card.structures == ["lung_nodule"] and card.title == "Lung nodule CT detection"


def test_it_runs_only_once_it_is_trusted(bundle, tmp_path):
    volume = speckled((20, 30, 30), np.diag([*SPACING, 1.0]))
    card = import_model(bundle)
    assert card.finds_boxes and needs_trust(card)
    assert {path.parts[0] for path in code_files(card)} == {"configs", "scripts"}
    with pytest.raises(ModelError, match="you have not trusted it") as told:
        detect(volume, card, device="cpu")
    assert told.value.action == "trust_model"
    trust(card)
    assert detect(volume, card.id, device="cpu", force=True).findings
    (card.folder / "configs" / "inference.json").write_text("{}", "utf-8")
    with pytest.raises(ModelError, match="you have not trusted it"):
        detect(volume, card, device="cpu")


def test_it_finds_what_monai_finds(bundle, tmp_path):
    """On the network's own grid, so that both resample nothing; 64 × 64 × 40 voxels are one window."""
    matrix = np.diag([*SPACING, 1.0])
    matrix[:3, 3] = -40, 25, 300
    volume = speckled((40, 64, 64), matrix)
    boxes, scores = by_monai(bundle, volume, tmp_path)
    trust(find_model(bundle))
    found = detect(volume, bundle, device="cpu", min_score=0.05, force=True).findings
    assert len(found) == len(boxes) > 20
    own = np.array([[*f.center_ras, *f.size_mm, f.score] for f in found])
    theirs = np.column_stack([boxes, scores])
    # MONAI cuts boxes at the last voxel's centre plus one; DeepSeg half a voxel around the outermost centres.
    inner = (np.abs(theirs[:, :3] - matrix[:3, 3] - [48, 48, 40]) + theirs[:, 3:6] / 2 < [45, 45, 36]).all(1)
    assert inner.sum() > 5
    for row in theirs[inner]:
        assert np.abs(own - row).max(1).min() < 1e-2


def test_on_another_grid_it_finds_the_same_places(bundle):
    matrix = np.diag([*SPACING, 1.0])
    trust(find_model(bundle))
    detector = load_detector(find_model(bundle))
    volume = speckled((40, 64, 64), matrix)
    flipped = matrix.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] = matrix[:3, 3] + matrix[:3, 0] * 63
    mirrored = Volume(np.ascontiguousarray(volume.array[:, :, ::-1]), flipped, "mirrored", "CT")
    one, other = (detect(v, detector, device="cpu", force=True).findings for v in (volume, mirrored))
    assert np.allclose([f.center_ras for f in one], [f.center_ras for f in other], atol=1e-3)


def test_a_large_volume_is_searched_in_windows(bundle):
    trust(find_model(bundle))
    detector = load_detector(find_model(bundle))
    assert detector.plan.patch_size == (96, 96, 48) and detector.divisor == (16, 16, 8)
    assert detector.plan.spacing == SPACING and detector.plan.orientation == "RAS"
    found = detect(speckled((60, 10, 120), np.diag([*SPACING, 1.0])), detector, device="cpu", force=True)
    assert "96 × 16 × 48" in found.provenance["run"]
    assert found.findings
    ends = np.array([120 * 1.5, 10 * 1.5, 60 * 2.0])
    for one in found.findings:
        assert (np.array(one.low) > -2).all() and (np.array(one.high) < ends).all()


@pytest.mark.parametrize(
    "changes, said", [({"detector": None}, "no detector|failed"), ({"detector_ops": "$1/0"}, "failed")]
)
def test_a_broken_configuration_gets_a_sentence(changes, said, bundle):
    config = {k: v for k, v in (inference_config() | changes).items() if v is not None}
    (bundle / "configs" / "inference.json").write_text(json.dumps(config), "utf-8")
    trust(find_model(bundle))
    with pytest.raises(ModelError, match=said):
        load_detector(find_model(bundle))


def test_weights_with_code_are_refused(bundle):
    torch.save({"model": print}, bundle / "models" / "model.pt")
    trust(find_model(bundle))
    with pytest.raises(ModelError, match="nothing in them was run"):
        load_detector(find_model(bundle))
