"""Stand-ins for what Slicer installs packages with: pip is never run, each request is noted and fails.

Slicer 5.10 has ``slicer.util.pip_install`` alone. From 5.12 on it passes on to ``slicer.packaging.pip_install``, which
takes options and, unless told otherwise, shows a dialog of its own about a failure before it raises.
"""

import sys
from subprocess import CalledProcessError
from types import ModuleType

import slicer


class Pip:
    """Attributes:
    requests: what was to be installed.
    """

    def __init__(self):
        self.requests: list[str] = []

    def offer(self, *, packaging: bool = False, pytorch: bool = False) -> None:
        """Offer what a Slicer has.

        Args:
            packaging: as from Slicer 5.12 on.
            pytorch: the extension PyTorch is installed.
        """
        for name in ("slicer.packaging", "PyTorchUtils"):
            sys.modules.pop(name, None)
        vars(slicer).pop("packaging", None)
        slicer.util.pip_install = slicer.util.pip_uninstall = self._install
        slicer.util._executePythonModule = self._execute
        if packaging:
            slicer.packaging = sys.modules["slicer.packaging"] = ModuleType("slicer.packaging")
            slicer.packaging.pip_install = slicer.util.pip_install = self._install_with_dialog
        if pytorch:
            module = sys.modules["PyTorchUtils"] = ModuleType("PyTorchUtils")
            module.PyTorchUtilsLogic = PyTorchUtilsLogic

    def _install(self, requirements):
        self._execute("pip", ["install", *([requirements] if isinstance(requirements, str) else requirements)])

    def _install_with_dialog(
        self,
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        logCallback=None,
        completedCallback=None,
    ):
        try:
            self._install(requirements)
        except CalledProcessError:
            if show_progress and blocking:
                slicer.util.errorDisplay("Package installation failed.", detailedText="the log of pip")
            raise

    def _execute(self, module, arguments):
        self.requests.append(" ".join([*([] if module == "pip" else [module]), *arguments[module == "pip" :]]))
        raise CalledProcessError(1, [module, *arguments])


class PyTorchUtilsLogic:
    """Of the extension PyTorch: an installation that fails raises; None is for a user who declined."""

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        if askConfirmation and not slicer.util.confirmOkCancelDisplay("PyTorch will be downloaded and installed"):
            return None
        try:
            import light_the_torch._patch  # noqa: F401
        except ImportError:
            slicer.util.pip_install("light-the-torch>=0.5")
        slicer.util._executePythonModule("light_the_torch", ["install", f"torch{torchVersionRequirement or ''}"])
        raise AssertionError("Nothing is installed here.")
