"""The panel's structures section: a searchable tree with check boxes, and presets."""

import qt

from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import search_structures
from DeepSegLogic.util.i18n import mark as N_
from DeepSegLogic.util.i18n import tr as sessionText

PRESET_TITLE = N_("Presets …")


class StructureSection:
    """Which structures to segment."""

    def __init__(self, ui, sceneSession):
        self.ui, self.choices = ui, sceneSession.session.choices
        self._items, self._groups, self._shown, self._presets = {}, [], (), None
        ui.presetComboBox.connect("activated(int)", self.onPreset)
        ui.allButton.connect("clicked(bool)", self.onAll)
        ui.noneButton.connect("clicked(bool)", self.onNone)
        ui.structureSearchBox.connect("textChanged(QString)", self.onSearch)
        ui.structureTree.connect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)
        self.choices.structures_changed.connect(self.showStructures)
        self.showStructures(self.choices.structures)

    def showStructures(self, structures):
        names, chosen = structures.known, set(structures.chosen)
        blocked = self.ui.structureTree.blockSignals(True)
        if self._shown != names:
            self._rebuild(names)
            self.onSearch(self.ui.structureSearchBox.text)
        if self._presets != structures.presets:
            self._showPresets(structures.presets)
        for name, item in self._items.items():
            item.setCheckState(0, qt.Qt.Checked if name in chosen else qt.Qt.Unchecked)
        for item, members in self._groups:
            count = len(chosen & members)
            state = (
                qt.Qt.Unchecked if count == 0 else qt.Qt.Checked if count == len(members) else qt.Qt.PartiallyChecked
            )
            item.setCheckState(0, state)
        self.ui.structureTree.blockSignals(blocked)
        self.ui.structuresCollapsibleButton.text = _("Structures ({chosen} of {known})").format(
            chosen=len(chosen), known=len(names)
        )

    def onItemChanged(self, item, _column):
        on = item.checkState(0) == qt.Qt.Checked
        chosen = set(self.choices.structures.chosen)
        for group, members in self._groups:
            if group == item:
                self.choices.choose_structures(chosen | members if on else chosen - members)
                return
        for name, known in self._items.items():
            if known == item:
                self.choices.choose_structures(chosen | {name} if on else chosen - {name})
                return

    def onPreset(self, index):
        if index > 0:
            self.choices.choose_preset(self.ui.presetComboBox.itemData(index))
            self.ui.presetComboBox.currentIndex = 0

    def onAll(self, _checked=False):
        self.choices.choose_structures(self.choices.structures.known)

    def onNone(self, _checked=False):
        self.choices.choose_structures([])

    def onSearch(self, words):
        structures = [s for group in self.choices.structures.groups for s in group.structures]
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
        for group in self.choices.structures.groups:
            top = qt.QTreeWidgetItem(tree)
            top.setText(0, sessionText(group.title))
            self._groups.append((top, {s.name for s in group.structures}))
            for structure in group.structures:
                item = qt.QTreeWidgetItem(top)
                item.setText(0, structure.title)
                item.setToolTip(0, structure.name)
                self._items[structure.name] = item

    def _showPresets(self, presets):
        self._presets, box = presets, self.ui.presetComboBox
        box.clear()
        box.addItem(_(PRESET_TITLE))
        for preset in presets:
            box.addItem(sessionText(preset), preset)
