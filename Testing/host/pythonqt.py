"""PythonQt's manners on top of PySide6.

Slicer's Qt binding is PythonQt, whose rules differ from PySide's: a property is an attribute and not a call, a signal
is connected by its C++ signature, enums are integers, lists come back as tuples, keyword arguments do not exist, and
no new attribute can be put on a C++ object. :func:`wrap` gives a PySide object these rules. Where PythonQt converts in
silence what is nearly always a mistake (any object to text), the stand-in refuses.
"""

import enum
from inspect import getattr_static
from types import FunctionType
from weakref import WeakValueDictionary

import shiboken6
from PySide6 import QtCore, QtGui

from . import signals
from .enums import Enum, EnumType

_ALIASES = {"name": "objectName"}
_NO_PROPERTY = {"singleShot"}  # QTimer's property gives way to its static method
_PYSIDE_ONLY = {"connect", "disconnect", "staticMetaObject", "emit"}
_ACCEPTED = {
    "QString": str,
    "QStringList": list | tuple,
    "bool": bool | int,
    **dict.fromkeys(("int", "uint", "double", "float"), int | float),
}
_TRUTH = {"isEmpty": False, "isValid": True, "isNull": False}  # in the order of PythonQt's generator
_CONVERT = {"bool": bool, "int": int, "uint": int}
_classes: dict[type, "ClassWrapper"] = {}
_wrappers = WeakValueDictionary()


class ClassWrapper(type):
    """The class of the wrappers of one PySide class: ``qt.QLabel``."""

    def __new__(mcs, name, bases, namespace):
        if "_qt" not in namespace and name != "Instance":
            raise TypeError(f"{name}: PythonQt can derive a Python class from a Qt class, this stand-in cannot.")
        return super().__new__(mcs, name, bases, namespace)

    def __call__(cls, *args, **kwargs):
        return Method(cls._qt, cls.__name__)(*args, **kwargs)

    def __getattr__(cls, name):
        found = _member(cls._qt, name)
        if found is None:
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        return _bound(found, cls._qt, name)


class Instance(metaclass=ClassWrapper):
    """A PySide object with PythonQt's rules."""

    __slots__ = ("__weakref__", "_object")

    def __getattr__(self, name):
        target = _live(self, name)
        prop = _property(target, name)
        if prop is not None:
            return wrap(prop.read(target))
        found = _member(type(target), name)
        if found is not None:
            return _bound(found, target, name)
        if isinstance(target, QtCore.QObject):
            if name in ("connect", "disconnect"):
                return Method(lambda *args: getattr(signals, name)(target, *args), name)
            if name.encode() in [bytes(dynamic.data()) for dynamic in target.dynamicPropertyNames()]:
                return wrap(target.property(name))
            for child in target.children():
                if child.objectName() == name:
                    return wrap(child)
        raise AttributeError(f"{self.className()} has no attribute named '{name}'")

    def __setattr__(self, name, value):
        target = _live(self, name)
        prop = _property(target, name)
        if prop is not None:
            _write(prop, target, value)
        elif _member(type(target), name) is not None:
            raise AttributeError(f"Slot '{name}' can not be overwritten on {self.className()} object")
        elif isinstance(target, QtCore.QObject) and target.property(name) is not None:
            target.setProperty(name, unwrap(value))
        else:
            raise AttributeError(
                f"'{name}' does not exist on {self.className()} "
                "and creating new attributes on C++ objects is not allowed"
            )

    def className(self) -> str:
        return type(self).__name__

    def inherits(self, name: str) -> bool:
        return any(base.__name__ == name for base in type(self).__mro__)

    def delete(self) -> None:
        shiboken6.delete(self._object)

    def __bool__(self):
        """PythonQt asks the object: an empty layout or menu is false, and so is a null picture."""
        if not shiboken6.isValid(self._object):
            return False
        asked = next((name for name in _TRUTH if hasattr(type(self._object), name)), None)
        return asked is None or getattr(self._object, asked)() == _TRUTH[asked]

    def __eq__(self, other):
        if self is other or not isinstance(other, Instance):
            return self is other
        if shiboken6.getCppPointer(self._object) == shiboken6.getCppPointer(other._object):
            return True
        return not isinstance(self._object, QtCore.QObject) and self._object == other._object

    def __hash__(self):
        return hash(shiboken6.getCppPointer(self._object)[0])

    def __repr__(self):
        return f"{self.className()} (at: {id(self._object):#x})"


class Method:
    """A slot or another function of Qt."""

    def __init__(self, function, name):
        self._function, self._name = function, name

    def __call__(self, *args, **kwargs):
        if kwargs:
            raise TypeError(f"Called {self._name} with keyword arguments, but called slot does not support kwargs.")
        args = [unwrap(arg) for arg in args]
        try:
            return wrap(self._function(*args))
        except TypeError:
            if not any(isinstance(arg, enum.Enum) for arg in args):
                raise
            return wrap(self._function(*(arg.value if isinstance(arg, enum.Enum) else arg for arg in args)))

    def __eq__(self, other):
        return isinstance(other, Method) and self._function == other._function

    def __hash__(self):
        return hash(self._name)


class BoundSignal:
    """``button.clicked``: to connect, to disconnect, or to emit."""

    def __init__(self, sender, name):
        self._sender, self._name = sender, name

    def connect(self, function) -> bool:
        return signals.connect(self._sender, signals.signature_of(self._sender, self._name), unwrap(function))

    def disconnect(self, function=None) -> bool:
        return signals.disconnect(self._sender, signals.signature_of(self._sender, self._name), unwrap(function))

    def emit(self, *args) -> None:
        getattr(self._sender, self._name).emit(*map(unwrap, args))

    __call__ = emit


def wrap(value):
    """What PythonQt hands to Python for a value of Qt's."""
    if isinstance(value, enum.Enum):
        return Enum(value)
    if isinstance(value, list | tuple):
        return tuple(wrap(item) for item in value)
    if not isinstance(value, shiboken6.Shiboken.Object):
        return value
    key = shiboken6.getCppPointer(value)[0], type(value)
    wrapper = _wrappers.get(key)
    if wrapper is None or wrapper._object is not value:
        wrapper = object.__new__(class_for(type(value)))
        object.__setattr__(wrapper, "_object", value)
        _wrappers[key] = wrapper
    return wrapper


def unwrap(value):
    """The PySide value behind what Python code hands over; a function becomes the receiver of a signal."""
    if isinstance(value, Instance):
        return value._object
    if isinstance(value, ClassWrapper):
        return value._qt
    if isinstance(value, Enum):
        return value.member
    if isinstance(value, list | tuple):
        return [unwrap(item) for item in value]
    if callable(value) and not isinstance(value, type):
        return signals.Handler(value, wrap)
    return value


def class_for(qt_class: type) -> ClassWrapper:
    """The wrapper class of a PySide class, with the same ancestors."""
    if qt_class not in _classes:
        ancestors = [base for base in qt_class.__bases__ if shiboken6.Shiboken.Object in base.__mro__[1:]]
        bases = tuple(class_for(base) for base in ancestors) or (Instance,)
        _classes[qt_class] = ClassWrapper(qt_class.__name__, bases, {"_qt": qt_class, "__slots__": ()})
    return _classes[qt_class]


def _live(wrapper, name):
    target = object.__getattribute__(wrapper, "_object")
    if not shiboken6.isValid(target):
        raise ValueError(f"Trying to use '{name}' of a destroyed {wrapper.className()} object")
    return target


def _property(target, name):
    """The Qt property of that name, or None."""
    if not isinstance(target, QtCore.QObject) or name in _NO_PROPERTY:
        return None
    meta = target.metaObject()
    index = meta.indexOfProperty(_ALIASES.get(name, name))
    return meta.property(index) if index >= 0 else None


def _write(prop, target, value) -> None:
    name, kind = prop.name(), prop.typeName()
    if not prop.isWritable():
        raise AttributeError(f"Property '{name}' of {type(target).__name__} object is not writable")
    accepted = int | str if prop.isEnumType() else _ACCEPTED.get(kind, object)
    if isinstance(value, accepted) and value is not None:
        convert = int if prop.isEnumType() and not isinstance(value, str) else _CONVERT.get(kind, unwrap)
        if prop.write(target, convert(value)):
            if name == "toolTip":
                wrap_tool_tip(target)
            return
    raise AttributeError(
        f"Property '{name}' of type '{kind}' does not accept an object of type {type(value).__name__} ({value!r})"
    )


def wrap_tool_tip(widget) -> None:
    """Slicer's application turns a plain tooltip into rich text as soon as it is set, so that its lines are wrapped."""
    text = widget.toolTip()
    if text and not QtGui.Qt.mightBeRichText(text):
        widget.setToolTip(QtGui.Qt.convertFromPlainText(text, QtCore.Qt.WhiteSpaceNormal))


def _member(qt_class: type, name: str):
    """A method, signal or enum of a PySide class."""
    name = _spelled(qt_class, name)
    if name.startswith("_") or name in _PYSIDE_ONLY:
        return None
    found = getattr(qt_class, name, None)
    return found if callable(found) or isinstance(found, enum.Enum | QtCore.Signal) else None


def _bound(member, owner, name: str):
    if isinstance(member, QtCore.Signal):
        return BoundSignal(owner, name)
    if isinstance(member, enum.Enum):
        return Enum(member)
    if isinstance(member, enum.EnumMeta):
        return EnumType(member)
    if isinstance(member, type):
        return class_for(member)
    name = _spelled(owner, name)
    ours = getattr_static(type(owner), name, None)  # PySide's attribute look-up passes by our QMenu.exec
    function = ours.__get__(owner) if isinstance(ours, FunctionType) else getattr(owner, name)
    return Method(function, name)


def _spelled(owner, name: str) -> str:
    """One trailing underscore is dropped, as in ``exec_``."""
    return name[:-1] if name.endswith("_") and hasattr(owner, name[:-1]) else name
