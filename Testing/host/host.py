"""The stand-in for 3D Slicer's desktop, as tests use it."""

import sys
import time
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from . import namespaces, signals, slicer_modules
from .answers import DIALOGS
from .application import qSlicerApplication
from .event_loop import LOOP, own_time
from .packaging import Pip
from .pythonqt import unwrap, wrap

_BETWEEN_S = 0.005  # between two passes of the event loop: a worker needs the processor more
PANEL_WIDTH = 420


class Host:
    """One application per process; :func:`host.start` makes it.

    Attributes:
        answers: a part of a dialog's text to its answer; see :class:`host.answers.Dialogs`.
        messages: the dialogs that opened.
        errors: exceptions that left a slot or an observer. Slicer prints them; a test should look.
        pip: what packages are installed with, see :class:`host.packaging.Pip`.
        pip_requests: what the module wanted to install. It always fails.
        sample_data: the data sets that the module registered, by name.
    """

    def __init__(self):
        self.answers, self.messages, self.errors = DIALOGS.answers, DIALOGS.messages, LOOP.errors
        self.pip = Pip()
        self.pip_requests = self.pip.requests
        self.sample_data: dict[str, dict] = {}
        self._app = qSlicerApplication()
        self._app.setStyle("Fusion")
        self._app.setFont(QtGui.QFont("DejaVu Sans", 9))
        self._app.setQuitOnLastWindowClosed(False)
        slicer.mrmlScene = slicer.vtkMRMLScene()
        self._app._openScene(slicer.mrmlScene)
        slicer.app = wrap(self._app)
        namespaces.install(self)
        slicer.modules.start()

    @property
    def longest_block(self) -> float:
        """Seconds of the longest time in which the GUI thread did not get back to its event loop."""
        return LOOP.longest

    @property
    def longest_block_slot(self) -> str:
        """Name of the slot that ran then."""
        return LOOP.culprit

    def load_module(self, path):
        """Load a scripted module as Slicer does, open its panel, and return its Python widget.

        Raises:
            RuntimeError: the module is loaded. Slicer has one panel per module; a second one would share its shortcuts.
        """
        path = Path(path).resolve()
        name = path.stem
        if name in self._app.moduleManager().loadedModuleNames():
            raise RuntimeError(f"{name} is loaded. Call unload_module first, or slicer.util.reloadScriptedModule.")
        source = slicer_modules.import_module(path)
        module = slicer_modules.qSlicerScriptedLoadableModule(name, path)
        setattr(slicer.modules, name.lower(), wrap(module))
        setattr(slicer.modules, f"{name}Instance", getattr(source, name)(wrap(module)))
        self._app.moduleManager()._modules[name] = module
        self._app.startupCompleted.emit()
        widget = module.widgetRepresentation()
        widget.resize(PANEL_WIDTH, 900)
        widget.show()
        slicer.util.selectModule(name)
        return widget.self()

    def unload_module(self, name: str) -> None:
        """Close a module as Slicer does when it quits."""
        module = self._app.moduleManager()._modules.pop(name)
        slicer.util.selectModule("")
        self._app.moduleManager().moduleAboutToBeUnloaded.emit(name)
        module.widgetRepresentation().deleteLater()
        for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
            delattr(slicer.modules, attribute)
        self.pump(0)

    def pump(self, seconds: float = 0.1, until=None) -> bool:
        """Run the event loop for some time, or until a condition holds.

        Args:
            seconds: without those in which other programs had the processor. What is due by then has happened.

        Returns:
            Whether the condition held; without one, True.
        """
        end = own_time() + seconds
        while True:
            over = own_time() >= end
            with LOOP.away():
                self._app.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
                QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 5)
            if until is not None and until():
                return True
            if over:
                return until is None
            time.sleep(_BETWEEN_S)

    def screenshot(self, widget, path, width: int = PANEL_WIDTH, height: int | None = None) -> Path:
        """Save a picture of a widget, at twice its size in pixels.

        Args:
            height: in logical pixels; by default what the widget asks for.
        """
        target = unwrap(widget)
        target.resize(width, height or max(target.sizeHint().height(), target.minimumSizeHint().height()))
        target.show()
        self.pump(0.05)
        picture = QtGui.QPixmap(2 * target.size())
        picture.setDevicePixelRatio(2)
        target.render(picture)
        picture.save(str(path))
        return Path(path)

    def reset(self) -> None:
        """Unload all modules and forget what happened; the scene is empty again.

        Raises:
            RuntimeError: a module failed while it was closed. It would still be told of later modules' ends.
        """
        LOOP.errors.clear()
        for name in list(self._app.moduleManager().loadedModuleNames()):
            self.unload_module(name)
        failed = list(LOOP.errors)
        slicer.mrmlScene.Clear(False)
        self._app.settings().clear()
        self.pip.offer()
        self.pip_requests.clear()
        self.sample_data.clear()
        DIALOGS.clear()
        LOOP.clear()
        sys.excepthook = LOOP.keep  # each time: other tests' libraries set it, too
        signals.strict = True
        if failed:
            raise RuntimeError("A module failed while it was closed.") from failed[0]
