"""The panel's draft of a report by a language model, in the export section."""

from pathlib import Path

import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.util.errors import DeepSegError


class DraftSection:
    """Where the language model is, what it drafted, and the report with that."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self.drafting = self.session.drafting
        ui.draftButton.connect("clicked(bool)", self.onDraft)
        ui.saveDraftButton.connect("clicked(bool)", self.onSave)
        self.drafting.changed.connect(self.show)
        self.session.jobs.run_changed.connect(self.showRun)
        try:
            self.drafting.look_up()
        except DeepSegError as error:  # the panel goes on without it
            slicer.util.errorDisplay(remedies.sentence(error))
        endpoint = self.drafting.endpoint
        if endpoint is not None:
            ui.draftUrlLineEdit.text, ui.draftModelLineEdit.text = endpoint.url, endpoint.model
            ui.otherHostCheckBox.checked = endpoint.other_host
        self.show(self.drafting)

    def show(self, drafting):
        ui, draft, endpoint = self.ui, drafting.draft, drafting.endpoint
        ui.draftTextEdit.visible = ui.saveDraftButton.visible = draft is not None
        told = [endpoint.warning] if endpoint is not None and endpoint.warning else []
        if draft is not None:
            told = [draft.mark, *draft.notes]
            if not draft.edited:
                ui.draftTextEdit.plainText = draft.text
        ui.draftLabel.text = "\n".join(told)
        ui.draftLabel.visible = bool(told)

    def showRun(self, run):
        self.ui.draftButton.enabled = self.ui.saveDraftButton.enabled = not run.busy

    def onDraft(self, _checked=False):
        ui = self.ui
        with remedies.showingErrors(_("The report cannot be drafted.")):
            self.drafting.set_up(ui.draftUrlLineEdit.text, ui.draftModelLineEdit.text, ui.otherHostCheckBox.checked)
            self.drafting.write(self.scene.labelMap())

    def onSave(self, _checked=False):
        """Write the report with the draft as it was changed here."""
        with remedies.showingErrors(_("The report cannot be saved.")):
            self.drafting.edit(self.ui.draftTextEdit.plainText)
            self.session.export(Path(self.ui.exportPathLineEdit.currentPath), ["html"], self.scene.labelMap())
