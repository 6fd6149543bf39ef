"""Models that would leave a mark if any of their code ran."""

import json
from pathlib import Path

import torch

CARD = {
    "id": "evil",
    "title": "Evil",
    "modality": None,
    "structures": ["liver", "spleen"],
    "orientation": "RAS",
    "spacing": [3.0, 3.0, 3.0],
}
ARCHITECTURE = {
    "name": "UNet",
    "arguments": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]},
}
NETWORK = {"patch_size": [16, 16, 16], "axes": "IJK", "architecture": ARCHITECTURE}
METADATA = {
    "version": "0.1.0",
    "name": "Evil",
    "network_data_format": {
        "inputs": {"image": {"modality": "CT", "num_channels": 1, "spatial_shape": [16, 16, 16]}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "spleen"}}},
    },
}


def bundle(folder: Path, mark: Path, network: str = "scripts.net.Net", suffix: str = ".json") -> Path:
    """A MONAI bundle that works, with modules of its own; it makes the folder ``mark`` whenever any of it runs."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "scripts").mkdir()
    act = f"__import__('os').makedirs({str(mark)!r}, exist_ok=True)"
    configuration = {
        "imports": [f"${act}"],
        "network_def": {"_target_": network},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Spacingd", "keys": "image", "pixdim": f"${act} or [3.0, 3.0, 3.0]"}],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": f"${act} or [16, 16, 16]"},
    }
    text = json.dumps(configuration)  # YAML takes JSON too
    (folder / "configs" / f"inference{suffix}").write_text(text, "utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), "utf-8")
    (folder / "scripts" / "__init__.py").write_text(act, "utf-8")
    net = "import torch\n\nclass Net(torch.nn.Conv3d):\n    def __init__(self):\n        super().__init__(1, 3, 1)\n"
    (folder / "scripts" / "net.py").write_text(f"{act}\n{net}", "utf-8")
    for name in ("hubconf.py", "sitecustomize.py", "conftest.py"):
        (folder / name).write_text(act, "utf-8")
    torch.save(torch.nn.Conv3d(1, 3, 1).state_dict(), folder / "models" / "model.pt")
    return folder


def script(folder: Path) -> Path:
    """A TorchScript model."""
    folder.mkdir(parents=True)
    torch.jit.script(torch.nn.Conv3d(1, 3, 1)).save(folder / "model.ts")
    return folder


def installed(store: Path, card: dict, folder: Path | None = None) -> Path:
    """Put a card into a folder of the store, as an attacker's archive or a hand would."""
    place = store / card["id"]
    if folder is not None:
        folder.rename(place)
    place.mkdir(parents=True, exist_ok=True)
    (place / "card.json").write_text(json.dumps(card), "utf-8")
    return place
