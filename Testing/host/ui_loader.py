"""Reads ``.ui`` files as Slicer does, and refuses what Slicer's widgets do not know."""

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets, segment_widgets, signals
from .pythonqt import wrap, wrap_tool_tip

_STAND_INS = (
    *(*ctk_widgets.CLASSES, *mrml_widgets.CLASSES, *segment_widgets.CLASSES),
    type("qMRMLCollapsibleButton", (ctk_widgets.ctkCollapsibleButton,), {}),
)


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader with the stand-ins for Slicer's widgets.

    It raises on a widget class, a property, a signal or a slot that does not exist. The real loader prints a line.
    """

    _registered = False  # in the process: each time costs a search for plug-ins

    def __init__(self, parent=None):
        super().__init__(parent)
        if not QUiLoader._registered:
            for widget_class in _STAND_INS:
                self.registerCustomWidget(widget_class)
            QUiLoader._registered = True
        self._known = {"Line", *self.availableWidgets(), *(kind.__name__ for kind in _STAND_INS)}

    def load(self, device, parent=None):
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        unknown = {element.get("class") for element in root.iter("widget")} - self._known
        if unknown:
            raise RuntimeError(f"The .ui names widgets that neither Qt nor the stand-in has: {sorted(unknown)}")
        _count_flags(root)
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(self.errorString())
        named = {child.objectName(): child for child in widget.findChildren(QtCore.QObject)}
        named[widget.objectName()] = widget
        _check_properties(root, named)
        for child in widget.findChildren(QtWidgets.QWidget):
            wrap_tool_tip(child)
        for connection in connections if connections is not None else ():
            self._connect(named, *(connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")))
        return widget

    @staticmethod
    def _connect(named, sender, signal, receiver, slot):
        target, name = named[receiver], slot.split("(")[0]
        if not hasattr(target, name):
            raise RuntimeError(f"The .ui connects to {receiver}.{slot}, which does not exist")
        count = 0 if slot.endswith("()") else slot.count(",") + 1
        signals.connect(
            named[sender], signal, signals.Handler(lambda *args: getattr(target, name)(*args[:count]), wrap)
        )


def _count_flags(root) -> None:
    """Flags of the stand-ins' own become numbers: PySide does not tell Qt of enums in Python."""
    own = {kind.__name__: kind for kind in _STAND_INS}
    for prop in root.iter("property"):
        flags = prop.find("set")
        names = [name.split("::") for name in flags.text.split("|")] if flags is not None else []
        if names and names[0][0] in own:
            prop.remove(flags)
            ElementTree.SubElement(prop, "number").text = str(sum(getattr(own[k], n).value for k, n in names))


def _check_properties(root, named) -> None:
    """Qt makes a dynamic property of what a widget does not have; only ``stdset="0"`` says that it is meant."""
    for element in root.iter("widget"):
        widget = named.get(element.get("name"))
        for prop in element.findall("property"):
            name = prop.get("name")
            if widget is None or prop.get("stdset") == "0" or element.get("class") == "Line":
                continue
            if widget.metaObject().indexOfProperty(name) < 0:
                raise RuntimeError(f"The .ui sets '{name}', which {element.get('class')} does not have")
