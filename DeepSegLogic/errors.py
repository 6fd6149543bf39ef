"""Errors that a user can act on: what was wrong, with which file or setting, and what to do."""


class DeepSegError(Exception):
    """Base of all errors that DeepSeg raises on purpose.

    Args:
        message: one sentence that says what was wrong and names the file or setting.
        remedy: one sentence that says what to do.
        code: a stable, dotted code for programs, e.g. ``"input.truncated"``; defaults to the class's own.

    ``exit_code`` is what the command line returns (documented in the README).
    """

    code = "internal"
    exit_code = 1

    def __init__(self, message: str, remedy: str = "", *, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __str__(self):
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self):  # the worker sends errors across processes; keep remedy and code
        return _rebuild, (type(self), self.message, self.remedy, self.code)


def _rebuild(cls, message, remedy, code):
    return cls(message, remedy, code=code)


class UsageError(DeepSegError):
    """A setting or argument that cannot be used, e.g. an unknown structure name."""

    code = "usage"
    exit_code = 2


class InputError(DeepSegError):
    """An image, label map or prompt file that cannot be used."""

    code = "input"
    exit_code = 3


class ModelError(DeepSegError):
    """A model that is missing, broken, untrusted or does not fit the input."""

    code = "model"
    exit_code = 4


class OutputError(DeepSegError):
    """A result that cannot be written; what was there before is untouched."""

    code = "output"
    exit_code = 5


class ResourceError(DeepSegError):
    """Not enough memory or disk, no such device, or a device lost during the run."""

    code = "resource"
    exit_code = 6


class Cancelled(DeepSegError):
    """The user cancelled; nothing was written."""

    code = "cancelled"
    exit_code = 130

    def __init__(self, message="Cancelled.", remedy="", *, code=None):
        super().__init__(message, remedy, code=code)
