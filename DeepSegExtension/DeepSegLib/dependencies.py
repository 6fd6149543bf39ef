"""What DeepSeg needs beside what Slicer ships, and its installation with the user's consent.

Everything but torch is installed with ``--no-deps``: whatever a package asks for, nothing that Slicer ships (vtk,
SimpleITK, numpy, …) is replaced. :data:`NEEDED` therefore lists what those packages need in turn.
"""

import importlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement  # Slicer ships it

NEEDED = (
    "filelock>=3.13",
    "platformdirs>=4",
    "psutil>=5.9",
    "requests>=2.31",
    "scipy>=1.11",
    "slicerio>=1.4",
    "pynrrd>=1.0",  # slicerio's
    "typing_extensions>=4",  # pynrrd's
    "trimesh>=4.4",
    "lxml>=5",
    "networkx>=3",
    "pyfqmr>=0.3",
    "PyMaxflow>=1.3",
)
"""What pip is asked for."""

TORCH = Requirement("torch>=2.6")

SHIPPED = ("numpy", "SimpleITK", "vtk", "PythonQt")
"""Never to be touched."""


def missing():
    """Requirements that are not met, torch last."""
    importlib.invalidate_caches()
    return [str(needed) for needed in (*map(Requirement, NEEDED), TORCH) if not _isMet(needed)]


def _isMet(requirement):
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def pipArguments(requirements, wheelsFolder=""):
    """What pip is given; with a folder of wheels it asks no server."""
    offline = ["--no-index", "--find-links", wheelsFolder] if wheelsFolder else []
    return ["--no-deps", *offline, *requirements]


def install(wheelsFolder=""):
    """Install what is missing; whoever calls this has asked the user.

    Raises:
        DeepSegError: it could not be done; the remedy says what to do.
    """
    import slicer

    from DeepSegLogic.errors import ResourceError

    lacking = missing()
    if str(TORCH) in lacking and (sys.platform, platform.machine()) == ("darwin", "x86_64"):  # the last was 2.2
        raise ResourceError(
            "This Slicer is a program for Intel Macs, for which PyTorch is no longer made.",
            "Use a Slicer for Apple silicon, or DeepSeg's page (`deepseg web`) with a Python of its own.",
            code="resource.torch",
        )
    packages = [r for r in lacking if r != str(TORCH)]
    try:
        if packages:
            slicer.util.pip_install(pipArguments(packages, wheelsFolder))
    except Exception as error:
        raise ResourceError(
            f"{', '.join(packages)} could not be installed: {error}.",
            "Check the internet connection and Slicer's proxy settings; or collect wheels on another machine with "
            f"`pip download --no-deps {' '.join(packages)}` and give their folder.",
            code="resource.install",
        ) from error
    if str(TORCH) in lacking:
        _installTorch(wheelsFolder)


def _installTorch(wheelsFolder):
    import slicer

    from DeepSegLogic.errors import ResourceError

    if wheelsFolder:
        try:
            slicer.util.pip_install(["--no-index", "--find-links", wheelsFolder, str(TORCH)])
        except Exception as error:
            raise ResourceError(
                f"PyTorch could not be installed from {wheelsFolder}: {error}.",
                "Collect it, with all that it needs, on a machine like this one: "
                f'`pip download "{TORCH}" -d FOLDER` with Python {platform.python_version()}.',
                code="resource.torch",
            ) from error
        return
    try:
        import PyTorchUtils
    except ImportError:
        raise ResourceError(
            "PyTorch is missing, and so is the extension that installs it.",
            "Install the extension PyTorch in the Extensions Manager, restart Slicer and press Set up again.",
            code="resource.torch",
        ) from None
    # It picks the build for this machine's GPU.
    wanted = str(TORCH.specifier)
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=wanted) is None:
        raise ResourceError(
            "PyTorch was not installed.", "See the Python console, then press Set up again.", code="resource.torch"
        )
