"""Modal dialogs: noted, and answered by the test instead of a user."""

from dataclasses import dataclass

from PySide6 import QtWidgets


@dataclass
class Message:
    """A dialog that the module opened.

    Attributes:
        kind: ``"information"``, ``"warning"``, ``"critical"``, ``"question"``, ``"file"``, ``"text"`` or ``"dialog"``.
        text: what it says; the caption, of a file dialog.
        details: the text behind "Show details".
        answer: what the module got.
    """

    kind: str
    text: str
    details: str = ""
    answer: object = None


class Dialogs:
    """Attributes:
    answers: a part of a dialog's text to what it returns, e.g. ``{"Replace": False, "folder": "/tmp/out"}``. A
        question without an answer is an error; a notice needs none.
    messages: the dialogs so far.
    """

    def __init__(self):
        self.answers: dict[str, object] = {}
        self.messages: list[Message] = []

    def clear(self) -> None:
        """Forget dialogs and answers."""
        self.answers.clear()
        self.messages.clear()

    def open(self, kind: str, text: str, details: str = "", default=None):
        """What the test answers."""
        message = Message(kind, str(text), str(details))
        self.messages.append(message)
        matches = [answer for part, answer in self.answers.items() if part in message.text]
        if not matches and default is None:
            raise AssertionError(f"The module asks {message.text!r}, and host.answers has no answer to it.")
        message.answer = matches[0] if matches else default
        return message.answer


DIALOGS = Dialogs()


class QMessageBox(QtWidgets.QMessageBox):
    """Qt's message box without a user."""

    def exec(self):
        return _pressed(self.icon(), self.text(), self.standardButtons(), self.detailedText())


def _static(icon):
    def show(parent, title, text, buttons=QtWidgets.QMessageBox.Ok, default=None):
        return _pressed(icon, text, buttons)

    return staticmethod(show)


for _name in ("Information", "Warning", "Critical", "Question"):
    _icon = getattr(QtWidgets.QMessageBox, _name)
    setattr(QMessageBox, _name.lower(), _static(_icon))


class QFileDialog(QtWidgets.QFileDialog):
    """Qt's file dialog without a user. An empty answer is "Cancel"."""

    @staticmethod
    def getExistingDirectory(parent=None, caption="", directory="", options=None):
        return str(DIALOGS.open("file", caption))

    @staticmethod
    def getOpenFileName(parent=None, caption="", directory="", filters="", *_):
        return str(DIALOGS.open("file", caption))

    @staticmethod
    def getSaveFileName(parent=None, caption="", directory="", filters="", *_):
        return str(DIALOGS.open("file", caption))

    @staticmethod
    def getOpenFileNames(parent=None, caption="", directory="", filters="", *_):
        return [str(path) for path in DIALOGS.open("file", caption)]

    def exec(self):
        return int(bool(DIALOGS.open("file", self.windowTitle())))


class QInputDialog(QtWidgets.QInputDialog):
    """Qt's input dialog without a user."""

    @staticmethod
    def getText(parent, title, label, *_):
        return DIALOGS.open("text", label)

    @staticmethod
    def getItem(parent, title, label, items, *_):
        return DIALOGS.open("text", label)


class QDialog(QtWidgets.QDialog):
    """Any other dialog: the answer is what ``exec`` returns."""

    def exec(self):
        return int(DIALOGS.open("dialog", self.windowTitle()))


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
