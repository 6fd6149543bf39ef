"""Every bundle of the zoo in the catalogue, from its public configuration, with random weights, on a small CT.

The configurations in ``Testing/data/zoo`` are those of https://github.com/Project-MONAI/model-zoo (Apache-2.0). Some
networks are made smaller, so that the test does not take minutes: fewer features, same inputs and outputs.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models import load_model
from DeepSegLogic.models.catalogue import catalogue
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import trust
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError

monai = pytest.importorskip("monai")

ZOO = Path(__file__).parents[2] / "data" / "zoo"
BUNDLES = sorted(path.name for path in ZOO.iterdir() if path.is_dir())
SMALLER = {
    "pediatric_abdominal_ct_segmentation": {"filters": [4, 8, 8, 8, 8, 8]},
    "swin_unetr_btcv_segmentation": {"feature_size": 12},
    "wholeBody_ct_segmentation": {"init_filters": 8},
}
UNEST = '''
import torch

class UNesT(torch.nn.Module):
    """Like the bundle's own network: a parameter of four axes, and windows of one size only."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.first = torch.nn.Conv3d(in_channels, 4, 3, padding=1)
        self.place = torch.nn.Parameter(torch.randn(1, 8, 1, 4))
        self.last = torch.nn.Conv3d(4, out_channels, 1)

    def forward(self, x):
        assert x.shape[2:] == (96, 96, 96), "windows of 96 only"
        return self.last(self.first(x) + self.place.mean((0, 1, 2))[:, None, None, None])
'''


@pytest.fixture
def bundle(tmp_path):
    """Makes a bundle of the zoo with random weights."""

    def make(name):
        from monai.bundle import ConfigParser

        folder = shutil.copytree(ZOO / name, tmp_path / name)
        (folder / "models").mkdir()
        (config,) = (folder / "configs").glob("inference.*")
        if "UNEST" in name:  # its own code is not copied here, and needs einops and timm
            place = folder / "scripts" / "networks"
            place.mkdir(parents=True)
            (place / "unest.py").write_text(UNEST, "utf-8")
            space: dict[str, type] = {}
            exec(UNEST, space)
            network = space["UNesT"](1, 4)
        elif "dints" in name:  # its architecture is a file that current torch refuses; the zip has a scripted network
            torch.save({}, folder / "models" / "model.pt")
            torch.jit.script(torch.nn.Conv3d(1, 3, 3, padding=1)).save(folder / "models" / "model.ts")
            return folder
        else:
            if name in SMALLER:
                settings = ConfigParser.load_config_file(config)
                settings["network_def"] |= SMALLER[name]
                config.unlink()
                config = config.with_suffix(".json")
                config.write_text(json.dumps(settings), "utf-8")
            parser = ConfigParser()
            parser.read_config(str(config))
            if name.startswith("swin"):
                parser["network_def"].pop("img_size")
            network = parser.get_parsed_content("network_def")
        torch.save(network.state_dict(), folder / "models" / "model.pt")
        return folder

    return make


def noise():
    values = np.random.default_rng(0).normal(0, 200, (20, 24, 28)).astype(np.int16)
    return Volume(values, np.diag([2.0, 2.0, 3.0, 1.0]))


def test_these_are_the_bundles_of_the_catalogue():
    cards = [card for card in catalogue() if card.backend == "monai"]
    assert sorted(card.source.rpartition("/")[2] for card in cards) == BUNDLES


@pytest.mark.parametrize("name", BUNDLES)
def test_it_is_installed_and_runs(bundle, name):
    card = import_model(bundle(name))
    known = next(c for c in catalogue() if c.source.endswith(f"/{name}"))
    assert len(card.structures) == len(known.structures)
    trust(card)
    result = segment(noise(), load_model(card), device="cpu", force=True)
    assert result.label_map.array.any()


def test_a_package_that_a_network_lacks_is_named(bundle, monkeypatch):
    """At the import, in a note, and in the error of a run."""
    monkeypatch.setitem(sys.modules, "einops", None)  # as if it were not installed
    absent, _ = monai.utils.optional_import("einops", name="rearrange")
    monkeypatch.setattr("monai.networks.nets.swin_unetr.rearrange", absent)
    card = import_model(bundle("swin_unetr_btcv_segmentation"))
    assert card.notes == ["Its network needs the Python packages einops."]
    trust(card)
    with pytest.raises(ModelError, match="einops") as caught:
        segment(noise(), card.id, device="cpu", force=True)
    assert caught.value.code == "model.backend"
