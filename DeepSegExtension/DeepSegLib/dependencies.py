"""What DeepSeg needs beside what Slicer ships, and its installation with the user's consent.

Everything but torch is installed with ``--no-deps``: whatever a package asks for, nothing that Slicer ships (vtk,
SimpleITK, numpy, …) is replaced. :data:`NEEDED` therefore lists what those packages need in turn.
"""

import importlib
import platform
import re
import sys
from functools import partial
from pathlib import Path

from packaging.version import Version  # Slicer ships it

from DeepSegLib.i18n import tr as _

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
)
"""What pip is asked for: names, each with the oldest version that will do."""

TORCH = "torch>=2.6"
TORCH_INSTALLER = "light-the-torch>=0.5"  # of the extension PyTorch, which installs it at its first use

SHIPPED = ("numpy", "SimpleITK", "vtk", "PythonQt")
"""Never to be touched."""


def missing():
    """Requirements that are not met, torch last."""
    importlib.invalidate_caches()
    found = _installed()
    return [needed for needed in (*NEEDED, TORCH) if not _isMet(needed, found)]


def _isMet(needed, found):
    name, oldest = needed.split(">=")
    version = found.get(_plain(name)) or _toldVersion(name)
    return version is not None and Version(version) >= Version(oldest)


def _installed():
    """Versions of the packages by name, from the names of their ``.dist-info`` folders: the panel asks at each start,
    and to read the metadata of each package takes much longer. An empty folder is a left-over."""
    found = {}
    for place in map(Path, sys.path):
        for metadata in place.glob("*.dist-info/METADATA"):
            name, _dash, version = metadata.parent.stem.rpartition("-")
            found.setdefault(_plain(name), version)  # the first on the path is what is imported
    return found


def _plain(name):
    """A package's name as all spellings of it compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _toldVersion(name):
    """As the metadata of a package say that was installed in another way, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except (PackageNotFoundError, OSError, KeyError):  # the last two: a left-over without metadata
        return None


def pipArguments(requirements, wheelsFolder=""):
    """What pip is given; with a folder of wheels it asks no server."""
    offline = ["--no-index", "--find-links", wheelsFolder] if wheelsFolder else []
    return ["--no-deps", *offline, *requirements]


def install(wheelsFolder=""):
    """Install what is missing; whoever calls this has asked the user.

    Raises:
        DeepSegError: it could not be done; the remedy says what to do.
    """
    from DeepSegLogic.util.errors import ResourceError

    lacking = missing()
    if TORCH in lacking and (sys.platform, platform.machine()) == ("darwin", "x86_64"):  # the last was 2.2
        raise ResourceError(
            _("This Slicer is for Intel Macs, which PyTorch no longer supports."),
            _("Use a Slicer for Apple silicon, or install DeepSeg's web page with a Python of its own."),
            code="resource.torch",
        )
    packages = [r for r in lacking if r != TORCH]
    if packages:
        _pip(
            pipArguments(packages, wheelsFolder),
            ResourceError(
                _("{} could not be installed.").format(", ".join(packages)),
                _(
                    "Check the internet connection and Slicer's proxy settings. Without internet, download wheels on "
                    "another machine with `pip download --no-deps {}`, and choose their folder."
                ).format(" ".join(packages)),
                code="resource.install",
            ),
        )
    if TORCH in lacking:
        _installTorch(wheelsFolder)


def _installTorch(wheelsFolder):
    from DeepSegLogic.util.errors import ResourceError
    from DeepSegLogic.util.packages import can_import

    if wheelsFolder:
        failure = ResourceError(
            _("PyTorch could not be installed from {}.").format(wheelsFolder),
            _("On a machine like this one with Python {python}, run `{command}`, and choose that folder.").format(
                python=platform.python_version(), command=f'pip download "{TORCH}" -d FOLDER'
            ),
            code="resource.torch",
        )
        _pip(["--no-index", "--find-links", wheelsFolder, TORCH], failure)
        return
    try:
        import PyTorchUtils
    except ImportError:
        raise ResourceError(
            _("PyTorch and the extension that installs it are missing."),
            _("Install the extension PyTorch in the Extensions Manager, restart Slicer and press Set up again."),
            code="resource.torch",
        ) from None
    failure = ResourceError(
        _("PyTorch could not be installed."),
        _(
            "Check the internet connection, Slicer's proxy settings and the free disk space (up to 6 GB), and press "
            "Set up again. Without internet, choose a folder of wheels."
        ),
        code="resource.torch",
    )
    if not can_import("light_the_torch"):  # PyTorchUtils would show Slicer's own dialog about it
        _pip([TORCH_INSTALLER], failure)
    try:  # It picks the build for this machine's GPU.
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=TORCH.removeprefix("torch"))
    except Exception as error:  # of pip, or of what it installed
        raise _because(failure, error) from error
    if torch is None:
        raise failure


def _pip(arguments, failure):
    """Run pip without Slicer's own dialogs: the caller shows ``failure``, which says what to do."""
    import slicer

    try:
        from slicer.packaging import pip_install  # Slicer 5.12
    except ImportError:
        pip_install = slicer.util.pip_install
    else:
        pip_install = partial(pip_install, show_progress=False)
    try:
        pip_install(arguments)
    except Exception as error:
        raise _because(failure, error) from error


def _because(failure, error):
    """An error that says what pip ended with, too."""
    failure.message = _("{message} The Python console shows why ({error}).").format(
        message=failure.message, error=f"{error}".rstrip(".")
    )
    return failure
