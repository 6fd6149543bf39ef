"""Data that several tests use. What is not on this machine is skipped, with the reason."""

import gc
import locale
import os
from pathlib import Path

import pytest

from DeepSegLogic.util.openmp import openmp_settings

os.environ.update(openmp_settings())  # before torch is loaded, here and in the programs that tests start

CHECKOUT = Path(__file__).resolve().parent.parent


def pytest_collection():
    """What is collected stays to the end: nothing in it is garbage, now or later."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def c_locale():
    """Writing DICOM with GDCM, as Slicer does, leaves this locale behind, in which default encodings are ASCII."""
    locale.setlocale(locale.LC_ALL, "C")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CT volumes with reference labels, beside the checkout; absent on a user's machine."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the reference CT volumes in ../shared/data, which are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def chest_ct() -> Path:
    """The real chest CT in slicerio's wheel: 128×128×34, 3×3×10 mm."""
    import slicerio

    return Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"


@pytest.fixture(scope="session")
def chest_segmentation() -> Path:
    """Slicer's own segmentation of ``chest_ct``: ribs, three parts of the spine, lungs, tissue."""
    import slicerio

    return Path(slicerio.__file__).parent / "data" / "Segmentation.seg.nrrd"


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The bundled demonstration model."""
    return CHECKOUT / "Resources" / "Models" / "ct_demo"


@pytest.fixture
def slicer_host():
    """The stand-in for Slicer's desktop, with an empty scene and no module loaded."""
    import host

    for needed in () if host.REAL else ("PySide6", "slicer"):
        pytest.importorskip(needed, reason='needs PySide6-Essentials and slicer-core (pip install -e ".[test]")')
    running = host.start()
    running.reset()
    yield running
    running.reset()
