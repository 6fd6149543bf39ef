"""A real archive for tests: Orthanc with its DICOMweb plug-in, on loopback, with a login."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from free_ports import free_port

USER, PASSWORD = "deepseg", "secret-of-the-test"
_PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),)


@contextmanager
def running(folder: Path):
    """Start it; yields its DICOMweb address."""
    program = shutil.which("Orthanc")
    plugin = next((p for p in _PLUGINS if p.exists()), None)
    if program is None or plugin is None:
        pytest.skip("needs Orthanc with DICOMweb (apt-get install orthanc orthanc-dicomweb)")
    port = free_port()
    settings = {
        "Name": "DeepSeg",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), "utf-8")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/system", auth=(USER, PASSWORD), timeout=5).raise_for_status()
                break
            except requests.RequestException:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait(30)
