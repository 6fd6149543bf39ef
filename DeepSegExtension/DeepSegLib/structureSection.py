"""The panel's structures section: a searchable tree with check boxes, and presets."""

import qt

from DeepSegLogic.viewmodel import PRESETS, preset_names, search_structures

PRESET_TITLE = "Choose …"


class StructureSection:
    """Which structures to segment."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session = ui, sceneSession.session
        self._items, self._groups, self._shown = {}, [], None
        ui.presetComboBox.connect("activated(int)", self.onPreset)
        ui.allButton.connect("clicked(bool)", self.onAll)
        ui.noneButton.connect("clicked(bool)", self.onNone)
        ui.structureSearchBox.connect("textChanged(QString)", self.onSearch)
        ui.structureTree.connect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)
        self.update("structures")

    def update(self, part):
        """Show what changed."""
        if part != "structures":
            return
        model = self.session.model
        names = model.structures if model is not None else []
        blocked = self.ui.structureTree.blockSignals(True)
        if self._shown != names:
            self._rebuild(names)
        chosen = set(self.session.chosen)
        for name, item in self._items.items():
            item.setCheckState(0, qt.Qt.Checked if name in chosen else qt.Qt.Unchecked)
        for item, members in self._groups:
            count = len(chosen & members)
            state = (
                qt.Qt.Unchecked if count == 0 else qt.Qt.Checked if count == len(members) else qt.Qt.PartiallyChecked
            )
            item.setCheckState(0, state)
        self.ui.structureTree.blockSignals(blocked)
        self.ui.structuresCollapsibleButton.text = f"Structures ({len(chosen)} of {len(names)})"

    def onItemChanged(self, item, _column):
        on = item.checkState(0) == qt.Qt.Checked
        chosen = set(self.session.chosen)
        for group, members in self._groups:
            if group == item:
                self.session.choose_structures(chosen | members if on else chosen - members)
                return
        for name, known in self._items.items():
            if known == item:
                self.session.choose_structures(chosen | {name} if on else chosen - {name})
                return

    def onPreset(self, index):
        if index > 0:
            self.session.choose_preset(self.ui.presetComboBox.itemText(index))
            self.ui.presetComboBox.currentIndex = 0

    def onAll(self, _checked=False):
        self.session.choose_structures(self.session.model.structures if self.session.model else [])

    def onNone(self, _checked=False):
        self.session.choose_structures([])

    def onSearch(self, words):
        structures = [s for group in self.session.groups for s in group.structures]
        found = {s.name for s in search_structures(words, structures)}
        for name, item in self._items.items():
            item.setHidden(name not in found)
        for item, members in self._groups:
            item.setHidden(not members & found)
            item.setExpanded(bool(words))

    def _rebuild(self, names):
        self._shown, self._items, self._groups = names, {}, []
        tree = self.ui.structureTree
        tree.clear()
        for group in self.session.groups:
            top = qt.QTreeWidgetItem(tree)
            top.setText(0, group.title)
            self._groups.append((top, {s.name for s in group.structures}))
            for structure in group.structures:
                item = qt.QTreeWidgetItem(top)
                item.setText(0, structure.title)
                item.setToolTip(0, structure.name)
                self._items[structure.name] = item
        box = self.ui.presetComboBox
        box.clear()
        box.addItem(PRESET_TITLE)
        for preset in PRESETS:
            if preset_names(preset, names):
                box.addItem(preset)
