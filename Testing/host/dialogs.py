"""Modal dialogs: noted, and answered by the test instead of a user."""

from PySide6 import QtGui, QtWidgets

from .answers import DIALOGS


def install() -> None:
    """Nothing waits for a user: PySide's modal functions ask :data:`DIALOGS`."""
    box = QtWidgets.QMessageBox
    box.exec = lambda self: _pressed(self.icon(), self.text(), self.standardButtons(), self.detailedText())
    for icon in (box.Information, box.Warning, box.Critical, box.Question):
        setattr(box, icon.name.lower(), staticmethod(_notice(icon)))
    QtWidgets.QDialog.exec = lambda self: int(DIALOGS.open("dialog", self.windowTitle()))
    QtWidgets.QMenu.exec = _chosen
    files = QtWidgets.QFileDialog
    files.exec = lambda self: int(bool(DIALOGS.open("file", self.windowTitle())))
    files.getExistingDirectory = staticmethod(_path)
    files.getOpenFileName = files.getSaveFileName = staticmethod(_path)
    files.getOpenFileNames = staticmethod(lambda *args: [str(p) for p in DIALOGS.open("file", _caption(args))])
    for name in ("getText", "getItem", "getInt", "getDouble"):
        ask = staticmethod(lambda parent, title, label, *_: DIALOGS.open("text", label))
        setattr(QtWidgets.QInputDialog, name, ask)
    QtGui.QDesktopServices.openUrl = staticmethod(lambda url: DIALOGS.open("open", url.toString(), default=True))


def _notice(icon):
    def show(parent, title, text, buttons=QtWidgets.QMessageBox.Ok, default=None):
        return _pressed(icon, text, buttons)

    return show


def _path(*args):
    """A path; an empty answer is "Cancel"."""
    return str(DIALOGS.open("file", _caption(args)))


def _caption(args):
    return args[1] if len(args) > 1 else ""


def _chosen(menu, *_):
    entries = {action.text(): action for action in menu.actions()}
    action = entries[DIALOGS.open("menu", ", ".join(entries))]
    action.trigger()
    return action


def message_box(text, parent=None, icon=None, standardButtons=None, detailedText="", **_):
    """``slicer.util.messageBox``."""
    buttons = standardButtons if standardButtons is not None else QtWidgets.QMessageBox.Ok
    icon = getattr(icon, "member", QtWidgets.QMessageBox.Information)
    return int(_pressed(icon, text, getattr(buttons, "member", buttons), detailedText))


def _pressed(icon, text, buttons, details=""):
    """The button that the answer means. True means Yes or OK, False means No or Cancel, a number is a button."""
    box = QtWidgets.QMessageBox
    kind = icon.name.lower() if icon != box.NoIcon else "information"
    notice = buttons in (box.Ok, box.Close, box.NoButton)
    answer = DIALOGS.open(kind, text, details, default=True if notice else None)
    if not isinstance(answer, bool):
        return box.StandardButton(int(answer))
    wanted = (box.Yes, box.Ok, box.Retry, box.Close) if answer else (box.No, box.Cancel, box.Close)
    return next((button for button in wanted if button & buttons), box.Ok)
