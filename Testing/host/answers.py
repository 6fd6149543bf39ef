"""What dialogs are answered by the test, instead of by a user."""

from dataclasses import dataclass


@dataclass
class Message:
    """A dialog that the module opened.

    Attributes:
        kind: ``"information"``, ``"warning"``, ``"critical"``, ``"question"``, ``"file"``, ``"text"``, ``"menu"``,
            ``"dialog"``, or ``"open"`` for what is handed to the desktop.
        text: what it says; the caption, of a file dialog; the entries, of a menu; the address, of what is opened.
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
