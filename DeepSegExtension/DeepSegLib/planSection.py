"""The panel's plan section: distances, margins and planes on the result, and what they give."""

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic import planning as plans
from DeepSegLogic.util.i18n import mark as N_

DRAWING = {
    "": "",
    "branch": N_("Click along the branch, then press Draw branch again."),
    "path": N_("Click the entry, then the target."),
}


class PlanSection:
    """Two structures to choose, buttons that add to the plan, and the plan with its numbers."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._items = []  # of the entries, in their order
        header = ui.planTree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        for name, slot in (
            ("distanceButton", self.onDistance),
            ("diametersButton", self.onDiameters),
            ("marginButton", self.onMargin),
            ("distanceMapButton", self.onDistanceMap),
            ("vesselButton", self.onVessel),
            ("pathButton", self.onPath),
            ("planeButton", self.onPlane),
            ("ellipsoidButton", self.onEllipsoid),
            ("surfaceButton", self.onSurface),
            ("branchButton", self.onBranch),
            ("removePlanButton", self.onRemove),
            ("undoPlanButton", self.onUndo),
            ("redoPlanButton", self.onRedo),
            ("recomputeButton", self.onRecompute),
            ("partsButton", self.onParts),
            ("openPlanButton", self.onOpen),
            ("savePlanButton", self.onSave),
        ):
            getattr(ui, name).connect("clicked(bool)", slot)
        ui.planTree.connect("itemClicked(QTreeWidgetItem*,int)", self.onItemClicked)
        ui.planTree.connect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)
        outcome = self.session.outcome
        outcome.measurements_changed.connect(self.showStructures)
        outcome.plan_changed.connect(self.showPlan)
        self.session.jobs.run_changed.connect(self.showRun)
        sceneSession.plan.moving.connect(self.showMoving)
        sceneSession.plan.refused.connect(lambda error: self._tell(remedies.sentence(error)))
        sceneSession.plan.placing.drawing.connect(self.showDrawing)
        sceneSession.currentChanged.connect(self.showCurrent)
        self.showStructures(outcome.measurements)
        self.showPlan(outcome.planning)

    def showStructures(self, measurements):
        """Offer what was found, parts of the plan as the organs that they are, and keep what is chosen."""
        planning = self.session.outcome.planning
        if not measurements and planning is not None:
            return self._showReadiness()  # they are being made; what is chosen stays until then
        found = planning.structures(measurements) if planning is not None else []
        for number, box in enumerate((self.ui.planOneComboBox, self.ui.planOtherComboBox)):
            chosen = box.currentData
            box.clear()
            for structure in found:
                box.addItem(structure.title, structure.name)
            index = box.findData(chosen)
            box.currentIndex = index if index >= 0 else min(number, len(found) - 1)
        self._showReadiness()

    def showCurrent(self, name):
        """A structure was chosen in the table: it is the one to plan with, too."""
        one, other, planning = self.ui.planOneComboBox, self.ui.planOtherComboBox, self.session.outcome.planning
        index = one.findData(planning.whole(name) if planning is not None and name else name)
        if index < 0:
            return
        if other.currentIndex == index:
            other.currentIndex = one.currentIndex
        one.currentIndex = index

    def showPlan(self, planning):
        tree = self.ui.planTree
        blocked = tree.blockSignals(True)
        tree.clear()
        self._items = []
        for planned in planning.entries if planning is not None else ():
            self._items.append(self._item(planned))
        tree.expandAll()
        tree.blockSignals(blocked)
        stale = planning is not None and not all(map(self.scene.plan.holds, planning.entries))
        self._tell(_("The result was changed: numbers marked with ? no longer hold. Press Recompute.") if stale else "")
        self.showStructures(self.session.outcome.measurements)  # a part is a structure once its resection is gone

    def showMoving(self, line):
        """A cut is dragged."""
        self._tell("; ".join([f"{line.title}: {line.value}", *(f"{d.title}: {d.value}" for d in line.details)]))

    def showDrawing(self, what):
        """Something is drawn by clicks in the views, or not any more."""
        self.ui.branchButton.checked, self.ui.pathButton.checked = what == "branch", what == "path"
        self._tell(DRAWING[what] and _(DRAWING[what]))

    def showRun(self, _run):
        self._showReadiness()

    def onDistance(self, _checked=False):
        with remedies.showingErrors(_("The distance cannot be measured.")):
            self.scene.plan.planning.add("distances", {"one": self._one, "other": self._other})

    def onDiameters(self, _checked=False):
        with remedies.showingErrors(_("The diameters cannot be measured.")):
            self.scene.plan.planning.add("diameters", {"structure": self._one})

    def onMargin(self, _checked=False):
        entry = {"structure": self._one, "mm": round(self.ui.marginSpinBox.value, 1)}
        if self.ui.spareCheckBox.checked:
            entry["keep"] = [self._other]
        with remedies.showingErrors(_("The margin cannot be computed.")):
            self.scene.plan.planning.add("margins", entry)

    def onDistanceMap(self, _checked=False):
        with remedies.showingErrors(_("The distance map cannot be computed.")):
            self.scene.plan.planning.add("distance_maps", {"one": self._one, "other": self._other})

    def onVessel(self, _checked=False):
        with remedies.showingErrors(_("The vessel cannot be measured.")):
            self.scene.plan.planning.add("vessels", {"structure": self._one})

    def onPath(self, _checked=False):
        self._draw("path", lambda: self.scene.plan.placing.path([self._other]))

    def onBranch(self, _checked=False):
        vessel = self._other if self.ui.alongCheckBox.checked else None
        self._draw("branch", lambda: self.scene.plan.placing.branch(self._one, vessel))

    def onPlane(self, _checked=False):
        with remedies.showingErrors(_("The structure cannot be cut.")):
            self.scene.plan.addPlane(self._one)

    def onEllipsoid(self, _checked=False):
        with remedies.showingErrors(_("The structure cannot be cut.")):
            self.scene.plan.addEllipsoid(self._one)

    def onSurface(self, _checked=False):
        with remedies.showingErrors(_("The structure cannot be cut.")):
            self.scene.plan.addSurface(self._one)

    def onRemove(self, _checked=False):
        index = self._chosen()
        if index is not None:
            self.session.outcome.planning.remove(index)

    def onUndo(self, _checked=False):
        self.session.outcome.planning.undo()

    def onRedo(self, _checked=False):
        self.session.outcome.planning.redo()

    def onRecompute(self, _checked=False):
        with remedies.showingErrors(_("The plan cannot be computed.")):
            self.scene.plan.planning.recompute()

    def onParts(self, _checked=False):
        with remedies.showingErrors(_("The parts cannot be made segments.")):
            step = self.scene.plan.makeParts()
            self._tell(_("The parts are segments of the result.") if step else _("The parts are segments already."))

    def onOpen(self, _checked=False):
        path = qt.QFileDialog.getOpenFileName(self.ui.mainWidget, _("Open a plan"), "", _("Plans (*.json)"))
        if path:
            with remedies.showingErrors(_("The plan cannot be opened.")):
                self.scene.plan.planning.take(plans.read_plan(path))

    def onSave(self, _checked=False):
        path = qt.QFileDialog.getSaveFileName(self.ui.mainWidget, _("Save the plan"), "plan.json", _("Plans (*.json)"))
        if path:
            with remedies.showingErrors(_("The plan cannot be saved.")):
                plans.write_plan(self.scene.plan.planning.as_plan(), path)
                slicer.util.showStatusMessage(_("Plan saved."), 3000)

    def onItemClicked(self, item, _column):
        index = self._indexOf(item)
        if index is not None:
            self.scene.plan.jumpTo(self.session.outcome.planning.entries[index])

    def onItemChanged(self, item, _column):
        """A part was ticked: it is removed, or stays."""
        entry = item.parent()
        index = self._indexOf(item)
        planning = self.session.outcome.planning
        if entry is None or index is None or planning.entries[index].kind != "resections":
            return
        parts = planning.entries[index].numbers["parts"]
        removed = [p["number"] for n, p in enumerate(parts) if entry.child(n).checkState(0) == qt.Qt.Checked]
        qt.QTimer.singleShot(0, lambda: planning.set_removed(index, removed))  # the tree is still busy with the item

    def _item(self, planned):
        """An entry as an item of the tree, with its details below."""
        line, mark = self.scene.plan.line(planned), "" if self.scene.plan.holds(planned) else " ?"
        item = qt.QTreeWidgetItem(self.ui.planTree)
        for column, text in enumerate((line.title, line.value + mark)):
            item.setText(column, text)
            item.setToolTip(column, " ".join(line.notes))
        for number, detail in enumerate(line.details):
            child = qt.QTreeWidgetItem(item)
            child.setText(0, detail.title)
            child.setText(1, detail.value + mark)
            if planned.kind == "resections":
                removed = planned.numbers["parts"][number]["removed"]
                child.setCheckState(0, qt.Qt.Checked if removed else qt.Qt.Unchecked)
        return item

    def _showReadiness(self):
        ui, planning, free = self.ui, self.session.outcome.planning, not self.session.jobs.run.busy
        measured = planning is not None and bool(self.session.outcome.measurements)
        found = measured and self.scene.frames is None and bool(self._one)  # a sequence has no plan
        entries = planning.entries if planning is not None else ()
        for name, ready in (
            ("distanceButton", found and free),
            ("diametersButton", found and free),
            ("marginButton", found and free),
            ("distanceMapButton", found and free),
            ("vesselButton", found and free),
            *(
                (name, found)
                for name in ("planeButton", "ellipsoidButton", "surfaceButton", "branchButton", "pathButton")
            ),
            ("removePlanButton", bool(entries)),
            ("undoPlanButton", planning is not None and planning.can_undo),
            ("redoPlanButton", planning is not None and planning.can_redo),
            ("recomputeButton", bool(entries) and free),
            ("partsButton", any(p.kind == "resections" for p in entries)),
            ("openPlanButton", found and free),
            ("savePlanButton", bool(entries)),
        ):
            getattr(ui, name).enabled = ready

    def _draw(self, what, start):
        """Begin to draw, or end it."""
        placing = self.scene.plan.placing
        begins = placing.drawn != what
        placing.stop()
        if begins:
            start()

    @property
    def _one(self):
        return self.ui.planOneComboBox.currentData

    @property
    def _other(self):
        return self.ui.planOtherComboBox.currentData

    def _chosen(self):
        """The entry that is selected in the tree, or the only one."""
        item = self.ui.planTree.currentItem()
        index = self._indexOf(item) if item is not None else None
        return 0 if index is None and len(self._items) == 1 else index

    def _indexOf(self, item):
        """The entry of an item, or of the item above it; None if it is of none."""
        top = item.parent() or item
        return next((n for n, known in enumerate(self._items) if known == top), None)

    def _tell(self, text):
        self.ui.planLabel.text = text
