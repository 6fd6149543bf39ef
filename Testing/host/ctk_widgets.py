"""Stand-ins for CTK's widgets. Only what PythonQt shows of the real ones: properties, slots and signals."""

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property


class Folding:
    """What folds its children away; what the module hides or shows meanwhile counts when it is opened again."""

    _forcing = False

    def _fold(self, opened):
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            self._force(child)

    def _force(self, child):
        self._forcing = True
        child.setVisible(self.isChecked() and child.property("visibilityToParent") is not False)
        if child.property("visibilityToParent") is not False:
            child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def childEvent(self, event):
        child = event.child()
        if event.type() == QtCore.QEvent.ChildPolished and isinstance(child, QtWidgets.QWidget):
            hidden = QtCore.Qt.WA_WState_ExplicitShowHide, QtCore.Qt.WA_WState_Hidden
            if all(map(child.testAttribute, hidden)):
                child.setProperty("visibilityToParent", False)
            child.installEventFilter(self)
            self._force(child)
        super().childEvent(event)

    def eventFilter(self, child, event):
        if not self._forcing and event.type() in (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent):
            child.setProperty("visibilityToParent", event.type() == QtCore.QEvent.ShowToParent)
            if event.type() == QtCore.QEvent.ShowToParent:
                self._force(child)
        return False


class ctkCollapsibleButton(Folding, QtWidgets.QAbstractButton):
    """A header that folds what is below it."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, text="", parent=None):
        super().__init__(parent if not isinstance(text, QtWidgets.QWidget) else text)
        if isinstance(text, str):
            self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._header(), 0, 0)
        self.toggled.connect(self._fold)

    def _header(self):
        return self.fontMetrics().height() + 10

    def _fold(self, opened):
        super()._fold(opened)
        self.updateGeometry()
        self.contentsCollapsed.emit(not opened)

    def _setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _collapsed(self):
        return not self.isChecked()

    collapsed = Property(bool, _collapsed, _setCollapsed)
    contentsFrameShape = Property(int, lambda self: 0, lambda self, value: None)

    def _ownSize(self):
        return QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text()) + 2 * self._header(), self._header())

    def sizeHint(self):
        opened = self.layout() is not None and self.isChecked()
        return self._ownSize().expandedTo(self.layout().totalSizeHint()) if opened else self._ownSize()

    def minimumSizeHint(self):
        opened = self.layout() is not None and self.isChecked()
        return self._ownSize().expandedTo(self.layout().totalMinimumSize()) if opened else self._ownSize()

    def hitButton(self, position):
        return position.y() < self._header()

    def paintEvent(self, _):
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._header())
        painter = QtWidgets.QStylePainter(self)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(4, self._header() // 2 - 6, 12, 12)
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowDown if self.isChecked() else style.PE_IndicatorArrowRight, arrow)
        painter.drawText(option.rect.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text())


class ctkCollapsibleGroupBox(Folding, QtWidgets.QGroupBox):
    """A group box that folds; its check box says whether it is open."""

    def __init__(self, title="", parent=None):
        super().__init__(parent if not isinstance(title, QtWidgets.QWidget) else title)
        if isinstance(title, str):
            self.setTitle(title)
        self.setCheckable(True)
        self.toggled.connect(self._fold)

    collapsed = Property(
        bool, lambda self: not self.isChecked(), lambda self, collapsed: self.setChecked(not collapsed)
    )


class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit with a magnifying glass."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setClearButtonEnabled(True)
        self._icon = False

    showSearchIcon = Property(bool, lambda self: self._icon, lambda self, on: setattr(self, "_icon", on))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, with a button that opens a file dialog."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    Dirs, Files, Drives, NoDot, NoDotDot, NoDotAndDotDot, AllEntries = (
        QtCore.QDir.Dirs,
        QtCore.QDir.Files,
        QtCore.QDir.Drives,
        QtCore.QDir.NoDot,
        QtCore.QDir.NoDotDot,
        QtCore.QDir.NoDotAndDotDot,
        QtCore.QDir.AllEntries,
    )
    Readable, Writable, Executable = QtCore.QDir.Readable, QtCore.QDir.Writable, QtCore.QDir.Executable

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        self._button = QtWidgets.QToolButton()
        self._button.setText("…")
        layout.addWidget(self._edit)
        layout.addWidget(self._button)
        self._edit.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)
        self._filters, self._name_filters, self._key = int(QtCore.QDir.AllEntries.value), [], ""

    def setCurrentPath(self, path):
        self._edit.setText(path)

    def browse(self):
        folder = self._filters & QtCore.QDir.Dirs.value and not self._filters & QtCore.QDir.Files.value
        dialog = QtWidgets.QFileDialog
        path = (
            dialog.getExistingDirectory(self, "Select folder")
            if folder
            else dialog.getOpenFileName(self, "Select file")
        )
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self):
        pass

    currentPath = Property(str, lambda self: self._edit.text(), setCurrentPath, notify=currentPathChanged)
    filters = Property(int, lambda self: self._filters, lambda self, value: setattr(self, "_filters", value))
    nameFilters = Property(
        "QStringList", lambda self: self._name_filters, lambda self, value: setattr(self, "_name_filters", value)
    )
    settingKey = Property(str, lambda self: self._key, lambda self, value: setattr(self, "_key", value))
    showBrowseButton = Property(
        bool, lambda self: not self._button.isHidden(), lambda self, on: self._button.setVisible(on)
    )


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box for one number."""

    valueChanged = QtCore.Signal(float)
    SIGNALS = {"valueChanged(double)": "valueChanged"}  # noqa: RUF012

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(lambda steps: self._box.setValue(self._box.minimum() + self._step() * steps))
        self._box.valueChanged.connect(self._show)
        self._scale()

    def _step(self):
        return self._box.singleStep() or 1.0

    def _show(self, value):
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._box.minimum()) / self._step()))
        self._slider.blockSignals(blocked)
        self.valueChanged.emit(value)

    def _scale(self):
        self._slider.setRange(0, round((self._box.maximum() - self._box.minimum()) / self._step()))

    def setValue(self, value):
        self._box.setValue(value)

    def _set(name):
        def write(self, value):
            getattr(self._box, name)(value)
            self._scale()

        return write

    value = Property(float, lambda self: self._box.value(), setValue, notify=valueChanged)
    minimum = Property(float, lambda self: self._box.minimum(), _set("setMinimum"))
    maximum = Property(float, lambda self: self._box.maximum(), _set("setMaximum"))
    singleStep = Property(float, lambda self: self._box.singleStep(), _set("setSingleStep"))
    pageStep = Property(float, lambda self: 10 * self._step(), lambda self, value: None)
    decimals = Property(int, lambda self: self._box.decimals(), _set("setDecimals"))
    suffix = Property(str, lambda self: self._box.suffix(), _set("setSuffix"))
    prefix = Property(str, lambda self: self._box.prefix(), _set("setPrefix"))
    tracking = Property(bool, lambda self: self._slider.hasTracking(), lambda self, on: self._slider.setTracking(on))
    del _set


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    defaultText = Property(str, QtWidgets.QComboBox.placeholderText, lambda self, text: self.setPlaceholderText(text))


class ctkCheckableComboBox(QtWidgets.QComboBox):
    """A combo box whose entries can be checked."""

    checkedIndexesChanged = QtCore.Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self.model().rowsInserted.connect(lambda _, first, last: [self._make(row) for row in range(first, last + 1)])
        self.model().itemChanged.connect(lambda _: self.checkedIndexesChanged.emit())

    def _make(self, row):
        item = self.model().item(row)
        item.setFlags(item.flags() | QtCore.Qt.ItemIsUserCheckable)
        item.setCheckState(QtCore.Qt.Unchecked)

    def checkState(self, index):
        return self.model().itemFromIndex(index).checkState()

    def setCheckState(self, index, state):
        self.model().itemFromIndex(index).setCheckState(QtCore.Qt.CheckState(state))

    def checkedIndexes(self):
        items = [self.model().item(row) for row in range(self.count())]
        return [item.index() for item in items if item.checkState() == QtCore.Qt.Checked]

    def allChecked(self):
        return len(self.checkedIndexes()) == self.count()

    def noneChecked(self):
        return not self.checkedIndexes()


CLASSES = (
    ctkCollapsibleButton,
    ctkCollapsibleGroupBox,
    ctkSearchBox,
    ctkPathLineEdit,
    ctkSliderWidget,
    ctkComboBox,
    ctkCheckableComboBox,
)
