"""What tests of the stand-in work with, in a real Slicer: see ``make slicer``."""

import sys
import time
from pathlib import Path

import qt
import slicer

from .answers import DIALOGS
from .event_loop import LOOP

_ELSEWHERE = "Data"  # the module that is shown while ours is not


class RealHost:
    """The part of :class:`host.host.Host` that a real Slicer can do. The module is one that Slicer found at its start.

    Attributes:
        answers, messages, errors: as of the stand-in.
    """

    def __init__(self):
        self.answers, self.messages, self.errors = DIALOGS.answers, DIALOGS.messages, LOOP.errors
        self._loaded: set[str] = set()
        slicer.util.messageBox = _message_box
        slicer.util.delayDisplay = lambda message, *_, **__: DIALOGS.open("information", message, default=True)
        qt.QFileDialog = _FileDialog
        qt.QDesktopServices = _DesktopServices
        self._watch = qt.QTimer()
        self._watch.setInterval(500)
        self._watch.connect("timeout()", self._end_dialog)
        self._watch.start()

    @property
    def longest_block(self) -> float:
        """Seconds of the longest pass of the event loop in :meth:`pump`."""
        return LOOP.longest

    longest_block_slot = "in the event loop"

    def load_module(self, path):
        """Open the panel of a module, a new one if one was shown before, and return its Python widget."""
        name = Path(path).stem
        self._loaded.add(name)
        if hasattr(slicer.modules, f"{name}Widget"):
            slicer.util.reloadScriptedModule(name)
        slicer.util.selectModule(name)
        return getattr(slicer.modules, name.lower()).widgetRepresentation().self()

    def unload_module(self, name) -> None:
        """Show another module; Slicer itself unloads none before it quits."""
        slicer.util.selectModule(_ELSEWHERE)
        getattr(slicer.modules, f"{name}Widget").cleanup()

    def pump(self, seconds: float = 0.1, until=None) -> bool:
        """Run the event loop for some time, or until a condition holds; returns whether it did."""
        end = time.perf_counter() + seconds
        while True:
            over = time.perf_counter() >= end
            with LOOP.away():
                slicer.app.processEvents(qt.QEventLoop.AllEvents, 5)
            if until is not None and until():
                return True
            if over:
                return until is None
            time.sleep(0.001)

    def _end_dialog(self):
        """Nobody is there to answer a dialog of Slicer itself: it is an error, and goes."""
        dialog = slicer.app.activeModalWidget()
        if dialog is not None and dialog.className() != "QProgressDialog":  # Slicer's own while it loads a scene
            LOOP.errors.append(AssertionError(f"Slicer asks: {dialog.windowTitle} {getattr(dialog, 'text', '')}"))
            dialog.reject()

    def screenshot(self, widget, path, **_):
        """Save a picture of a widget."""
        widget.grab().save(str(path))
        return Path(path)

    def reset(self) -> None:
        """Show another module and forget what happened; the scene is empty again.

        Raises:
            RuntimeError: a module failed while it was left.
        """
        LOOP.clear()
        slicer.util.selectModule(_ELSEWHERE)
        slicer.mrmlScene.Clear(False)
        self.pump(0)
        for name in self._loaded:  # the panel is still there, and has kept in a node what was chosen
            getattr(slicer.modules, f"{name}Widget").cleanup()
            node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLScriptedModuleNode")
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)
        failed = list(LOOP.errors)
        LOOP.clear()
        DIALOGS.clear()
        sys.excepthook = LOOP.keep
        if failed:
            raise RuntimeError("A module failed while it was left.") from failed[0]


class _FileDialog:
    """The modal functions of ``qt.QFileDialog``."""

    @staticmethod
    def getOpenFileName(_parent=None, caption="", *_):
        return str(DIALOGS.open("file", caption))

    getSaveFileName = getExistingDirectory = getOpenFileName


class _DesktopServices:
    """``qt.QDesktopServices``."""

    @staticmethod
    def openUrl(url):
        return DIALOGS.open("open", url.toString(), default=True)


def _message_box(text, parent=None, icon=None, standardButtons=None, detailedText="", **_):
    """``slicer.util.messageBox``: True means Yes or OK, False means No or Cancel."""
    box = qt.QMessageBox
    buttons = int(box.Ok if standardButtons is None else standardButtons)
    kinds = {int(getattr(box, kind.capitalize())): kind for kind in ("warning", "critical", "question")}
    notice = buttons in (int(box.Ok), int(box.Close))
    kind = kinds.get(int(icon or 0), "information")
    answer = DIALOGS.open(kind, text, detailedText, default=True if notice else None)
    wanted = (box.Yes, box.Ok, box.Retry, box.Close) if answer else (box.No, box.Cancel, box.Close)
    return next((button for button in wanted if int(button) & buttons), box.Ok)
