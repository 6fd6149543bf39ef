"""A release site on this machine, small networks in nnU-Net's format, and stores of their own for the tests."""

import io
import json
import random
import ssl
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from DeepSegLogic.models import download as download_module
from DeepSegLogic.models import find as registry
from DeepSegLogic.models import import_export as importing
from DeepSegLogic.models import install as fetch
from DeepSegLogic.models.card import ModelCard, Part

ORGANS, BONES = ("liver", "spleen"), ("sternum", "sacrum", "skull")


class ReleaseSite:
    """Serves ``files`` (bytes by path); what goes wrong is set on the attributes.

    Attributes:
        failures: HTTP status codes for the first requests, one each.
        cut_after: bytes after which a transfer breaks off, one number for each of the first requests.
        etag: of all files; None sends none.
        ranges: whether ``Range`` is honoured.
        delay_s: between blocks of 4 kB.
        answering: the first request is answered once this is set; None answers at once.
        redirects: path to address.
        requests: (path, Range header) of each request.
    """

    def __init__(self, certificate: tuple[str, str] | None = None):
        self.files: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.cut_after: list[int] = []
        self.etag: str | None = '"one"'
        self.ranges = True
        self.delay_s = 0.0
        self.answering: threading.Event | None = None
        self.redirects: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                site.answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.address = f"{scheme}://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.rpartition("/")[2]
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if self.answering is not None and len(self.requests) == 1:
            self.answering.wait(30)
        if self.failures:
            return self._status(request, self.failures.pop(0))
        if path in self.redirects:
            return self._status(request, 302, Location=self.redirects[path])
        if path not in self.files:
            return self._status(request, 404)
        content = self.files[path]
        start = 0
        if wanted and self.ranges and request.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start > len(content) - 1 and start:
            return self._status(request, 416)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        stop = start + self.cut_after.pop(0) if self.cut_after else len(content)
        for at in range(start, min(stop, len(content)), 4096):
            request.wfile.write(content[at : min(at + 4096, stop)])
            time.sleep(self.delay_s)
        request.wfile.flush()
        if stop < len(content):
            request.close_connection = True
            request.connection.close()

    def _status(self, request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """No test sees or changes the user's models, proxies or certificates."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "totalsegmentator"))
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.01)
    return tmp_path / "store"


@pytest.fixture
def site():
    site = ReleaseSite()
    site.files["weights.zip"] = random.Random(0).randbytes(1_500_000)
    yield site
    site.close()


@pytest.fixture(scope="session")
def new_site():
    """The class, for tests that need another kind of site."""
    return ReleaseSite


ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    },
    "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
}


@pytest.fixture
def nnunet_folder():
    """Makes an nnU-Net v2 results folder with a small network of random weights."""
    import torch

    from DeepSegLogic.networks.unet import build_unet

    def make(folder, structures, seed=0, spacing=(3.0, 3.0, 3.0), hounsfield=(-200.0, 300.0), patch=(32, 32, 32)):
        torch.manual_seed(seed)
        network = build_unet(ARCHITECTURE, 1, len(structures) + 1)
        resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
        configuration = {
            "spacing": list(spacing),
            "patch_size": list(patch),
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "architecture": ARCHITECTURE,
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": resampling,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": resampling,
        }
        low, high = hounsfield
        intensity = {"percentile_00_5": low, "percentile_99_5": high, "mean": (low + high) / 2, "std": (high - low) / 4}
        plans = {
            "dataset_name": "Dataset999_Small",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "foreground_intensity_properties_per_channel": {"0": intensity},
            "configurations": {"3d_fullres": configuration},
        }
        labels = {"background": 0, **{name: value for value, name in enumerate(structures, start=1)}}
        (folder / "fold_0").mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(plans), "utf-8")
        (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}), "utf-8")
        checkpoint = {
            "network_weights": network.state_dict(),
            "init_args": {"configuration": "3d_fullres", "fold": 0},
            "inference_allowed_mirroring_axes": (0, 1, 2),
            "logging": {"epoch": np.float64(1.5)},
        }
        torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
        return folder

    return make


@pytest.fixture
def zip_of():
    """The bytes of a zip file of a folder, as a release site offers it."""

    def make(folder, inside=""):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    zipped.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
        return buffer.getvalue()

    return make


@pytest.fixture
def networks(tmp_path, nnunet_folder):
    return {
        "organs": nnunet_folder(tmp_path / "trained" / "organs", ORGANS, seed=1),
        "bones": nnunet_folder(tmp_path / "trained" / "bones", BONES, seed=2),
    }


@pytest.fixture
def whole(site, networks, zip_of, monkeypatch):
    """The catalogue's card of a model of two networks on the release site."""
    inside = "Dataset901_Parts/nnUNetTrainer__nnUNetPlans__3d_fullres/"
    parts = []
    for name, folder in networks.items():
        site.files[f"{name}.zip"] = zip_of(folder, inside)
        parts.append(Part(name, ORGANS if name == "organs" else BONES, site.url(f"{name}.zip")))
    return listed(ModelCard("whole", "Whole body", structures=[*BONES, *ORGANS], parts=parts), monkeypatch)


@pytest.fixture
def single(site, networks, zip_of, monkeypatch):
    site.files["organs.zip"] = zip_of(networks["organs"])
    card = ModelCard("single", "Organs", licence="Apache-2.0", citation="A paper", structures=list(ORGANS))
    card.parts = [Part(url=site.url("organs.zip"))]
    return listed(card, monkeypatch)


def listed(card, monkeypatch):
    """Make ``card`` the only one of the catalogue."""
    for module in (fetch, registry):
        monkeypatch.setattr(module, "in_catalogue", lambda name: card if name == card.id else None)
    monkeypatch.setattr(importing, "catalogue", lambda: (card,))
    return card
