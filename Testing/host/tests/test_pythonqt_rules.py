"""The stand-in for Slicer's desktop refuses what PythonQt refuses, and times its event loop."""

import time

import pytest

pytest.importorskip("PySide6", reason="needs PySide6-Essentials")
pytest.importorskip("slicer", reason="needs slicer-core")


# PythonQt's manners


def test_a_tooltip_is_rich_text(qt):
    button = qt.QPushButton("Go")
    button.toolTip = "less < more"
    assert button.toolTip == "<p>less &lt; more</p>"
    button.toolTip = "<b>Go</b>"
    assert button.toolTip == "<b>Go</b>"
    button.toolTip = ""
    assert button.toolTip == ""


def test_a_property_is_an_attribute_and_not_a_call(qt):
    button = qt.QPushButton("Go")
    assert (button.text, button.enabled, button.checkable) == ("Go", True, False)
    button.text = "Stop"
    button.setStatusTip("a slot is a call")
    assert (button.text, button.statusTip, button.isEnabled()) == ("Stop", "a slot is a call", True)
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()
    assert qt.QTreeWidgetItem(["a", "b"]).text(1) == "b"  # not a QObject: no properties


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("colour", "red", "creating new attributes on C\\+\\+ objects is not allowed"),
        ("click", print, "can not be overwritten"),
        ("clicked", print, "can not be overwritten"),
        ("width", 5, "not writable"),
        ("text", None, "does not accept an object of type NoneType"),
        ("enabled", None, "does not accept an object of type NoneType"),
    ],
)
def test_what_pythonqt_refuses_to_set_is_refused(qt, name, value, message):
    with pytest.raises(AttributeError, match=message):
        setattr(qt.QPushButton("Go"), name, value)


def test_keywords_new_signals_and_the_timers_property_are_refused(qt):
    with pytest.raises(TypeError, match="does not support kwargs"):
        qt.QLabel("text", wordWrap=True)
    with pytest.raises(AttributeError):
        _ = qt.Signal
    timer = qt.QTimer()
    with pytest.raises(AttributeError):
        timer.singleShot = True
    timer.setSingleShot(True)
    assert timer.isSingleShot()


def test_enums_are_integers_and_lists_are_tuples(qt):
    assert qt.Qt.Checked == 2
    assert qt.QMessageBox.Ok | qt.QMessageBox.Cancel == 0x400400
    with pytest.raises(AttributeError):
        _ = qt.Qt.CheckState.Checked
    tree = qt.QTreeWidget()
    item = qt.QTreeWidgetItem(tree, ["liver"])
    item.setCheckState(0, qt.Qt.PartiallyChecked)
    item.setFlags(item.flags() & ~qt.Qt.ItemIsSelectable)
    assert not item.flags() & qt.Qt.ItemIsSelectable
    assert item.checkState(0) == qt.Qt.PartiallyChecked
    assert tree.findItems("liver", qt.Qt.MatchExactly) == (item,)
    tree.selectionMode = qt.QAbstractItemView.ExtendedSelection
    assert tree.selectionMode == qt.QAbstractItemView.ExtendedSelection


def test_one_object_has_one_wrapper_and_knows_its_children(qt):
    box = qt.QGroupBox("title")
    label = qt.QLabel("inside", box)
    label.name = "inner"
    assert box.inner is label
    assert box.children() == (label,)
    assert label.parent() is box
    assert isinstance(label, qt.QWidget)
    assert label.className() == "QLabel"
    box.delete()
    assert not label
    with pytest.raises(ValueError, match="destroyed"):
        _ = label.text


def test_what_is_empty_or_null_is_false_and_an_empty_layout_is_not_among_the_children_by_name(qt, slicer):
    assert not qt.QPixmap() and not qt.QMenu() and qt.QLabel("")
    widget = qt.QWidget()
    layout = qt.QFormLayout(widget)
    layout.objectName = "rows"
    assert not layout and not hasattr(slicer.util.childWidgetVariables(widget), "rows")
    layout.addRow("Name", qt.QLineEdit())
    assert layout and slicer.util.childWidgetVariables(widget).rows is layout


def test_signals_are_connected_by_their_signature(qt):
    button, got = qt.QPushButton("Go"), []
    button.checkable = True

    def noted(checked):
        got.append(checked)

    assert button.connect("clicked(bool)", noted)
    assert button.connect("clicked()", lambda: got.append("no argument"))
    button.clicked.connect(lambda *args: got.append(args))
    button.click()
    assert got == [True, "no argument", (True,)]
    assert button.disconnect("clicked(bool)", noted)
    button.click()
    assert got[3:] == ["no argument", (False,)]


def test_a_function_gets_as_many_arguments_as_it_takes_defaults_included(qt):
    button, got = qt.QPushButton("Go"), []
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda path="default": got.append(path))
    button.click()
    assert got == ["none", False]


def test_an_unknown_signal_is_an_error(qt, slicer_host, capsys):
    from host import signals

    button = qt.QPushButton("Go")
    for wrong in ("pressed(bool)", "clicked(int)", "toggled()"):
        with pytest.raises(ValueError, match="does not exist on QPushButton"):
            button.connect(wrong, print)
    signals.strict = False
    assert not button.connect("clicked(int)", print)
    assert "does not exist" in capsys.readouterr().err


def test_what_a_slot_raises_is_printed_and_kept(qt, slicer_host, capsys):
    button = qt.QPushButton("Go")
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert isinstance(slicer_host.errors[0], ZeroDivisionError)


def test_timers_run_in_the_event_loop(qt, slicer_host):
    ticks = []
    timer = qt.QTimer()
    timer.interval = 1
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    qt.QTimer.singleShot(0, lambda: ticks.append(2))
    assert slicer_host.pump(5, until=lambda: 1 in ticks and 2 in ticks)
    timer.stop()
    assert not timer.active


# The event loop


def test_the_longest_block_is_the_longest_slot(qt, slicer_host):
    def slow():
        time.sleep(0.12)

    qt.QTimer.singleShot(0, slow)
    slicer_host.pump(0.2)
    assert slicer_host.longest_block >= 0.12
    assert "slow" in slicer_host.longest_block_slot


def test_processing_events_inside_a_slot_ends_the_block(qt, slicer, slicer_host):
    def polite():
        for _ in range(10):
            time.sleep(0.02)
            slicer.app.processEvents()

    button = qt.QPushButton("Go")
    button.connect("clicked()", polite)
    started = time.perf_counter()
    button.click()
    assert 0.02 <= slicer_host.longest_block < 0.8 * (time.perf_counter() - started)
