"""Signals by their C++ signatures, as PythonQt connects them."""

import sys
import types

import shiboken6
from PySide6 import QtCore

from .event_loop import LOOP

strict = True
"""Whether an unknown signal is an error. PythonQt prints a line and goes on."""

_connections: dict[int, list] = {}


class Handler:
    """A Python function as the receiver of a signal."""

    def __init__(self, function, wrap):
        self.function, self._wrap = function, wrap
        self._count = _positional(function)

    def __call__(self, *args):
        args = args if self._count is None else args[: self._count]
        return LOOP.run_slot(self.function, [self._wrap(arg) for arg in args])

    def __eq__(self, other):
        return isinstance(other, Handler) and self.function == other.function

    __hash__ = None


def connect(sender: QtCore.QObject, signal: str, receiver, slot: str | None = None) -> bool:
    """Connect a signal to a function, or to a slot of a Qt object by the slot's signature."""
    name = _normalized(signal)
    if not _exists(sender, name):
        return _unknown(sender, name)
    if slot is not None:
        return bool(QtCore.QObject.connect(sender, QtCore.SIGNAL(name), receiver, QtCore.SLOT(slot)))
    if not isinstance(receiver, Handler):
        raise ValueError(f"Called connect({signal!r}) with something that is not a function: {receiver!r}")

    def deliver(*args):
        receiver(*args)

    declared = _declared(sender).get(name)
    if declared:
        connection = getattr(sender, declared).connect(deliver)
    else:
        connection = QtCore.QObject.connect(sender, QtCore.SIGNAL(name), deliver)
    pointer = shiboken6.getCppPointer(sender)[0]
    if pointer not in _connections:
        _connections[pointer] = []
        sender.destroyed.connect(lambda *_: _connections.pop(pointer, None))
    _connections[pointer].append((name, receiver, connection))
    return True


def disconnect(sender: QtCore.QObject, signal: str, receiver=None) -> bool:
    """Undo :func:`connect`: one function, or all that listen to this signal."""
    name = _normalized(signal)
    if not _exists(sender, name):
        return _unknown(sender, name)
    entries = _connections.get(shiboken6.getCppPointer(sender)[0], [])
    for entry in [e for e in entries if e[0] == name and (receiver is None or e[1] == receiver)]:
        entries.remove(entry)
        QtCore.QObject.disconnect(entry[2])
        if receiver is not None:
            return True
    return receiver is None


def signature_of(sender: QtCore.QObject, name: str) -> str:
    """The first signature of a signal of that name."""
    names = [*_declared(sender)]
    meta = sender.metaObject()
    names += [bytes(meta.method(i).methodSignature().data()).decode() for i in range(meta.methodCount())]
    return next(n for n in names if n.split("(")[0] == name)


def _declared(sender) -> dict[str, str]:
    """Signatures of a stand-in's signals whose C++ types PySide does not know, and the attributes behind them."""
    return getattr(type(sender), "SIGNALS", {})


def _exists(sender, name: str) -> bool:
    return name in _declared(sender) or sender.metaObject().indexOfSignal(name) >= 0


def _normalized(signal: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signal.lstrip("2")).data()).decode()


def _unknown(sender, name: str) -> bool:
    message = f"QObject::connect() signal '{name}' does not exist on {type(sender).__name__}"
    if strict:
        raise ValueError(message)
    print(f"PythonQt: {message}", file=sys.stderr)
    return False


def _positional(function) -> int | None:
    """How many arguments PythonQt passes at most: those of a plain function or method, defaults included."""
    code = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType | types.MethodType) or code is None or code.co_flags & 0x04:
        return None
    return code.co_argcount - isinstance(function, types.MethodType)
