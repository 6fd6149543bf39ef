"""The panel's selectors for the further images of a model that sees several."""

from functools import partial

import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _


class ChannelSection:
    """One selector per further channel; none for most models."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._selectors = {}  # by name of the channel
        self.session.choices.channels_changed.connect(self.showChannels)
        self.session.choices.models_changed.connect(self.showModel)
        self.session.jobs.run_changed.connect(self.showRun)
        self.showChannels(self.session.choices.channels)
        self.showModel(self.session.choices.models)

    def showModel(self, models):
        names = models.chosen.channels if models.chosen is not None else ()
        self.ui.inputSelectorLabel.text = names[0] if names else _("CT volume")

    def showChannels(self, channels):
        if tuple(self._selectors) != channels.names:
            self._build(channels.names)
        self.ui.channelsWidget.visible = bool(channels.names)
        for name, selector in self._selectors.items():
            if selector.currentNode() is not self.scene.channelNode(name):
                blocked = selector.blockSignals(True)
                selector.setCurrentNode(self.scene.channelNode(name))
                selector.blockSignals(blocked)

    def showRun(self, run):
        self.ui.channelsWidget.enabled = not (run.busy and run.frame)

    def onVolume(self, name, node):
        if self.scene.isLoading:
            return
        self.session.jobs.forget_run()
        with remedies.showingErrors(_("The volume cannot be used for {}.").format(name)):
            self.scene.setChannelNode(name, node)

    def _build(self, names):
        layout = self.ui.channelsWidget.layout()  # not among the ui's variables: Slicer leaves out an empty layout
        while layout.rowCount():
            layout.removeRow(0)  # deletes the widgets, too
        self._selectors = {}
        for name in names:
            selector = slicer.qMRMLNodeComboBox()
            selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            selector.showChildNodeTypes = selector.addEnabled = selector.removeEnabled = False
            selector.noneEnabled = True
            selector.toolTip = _("Image that the model sees as {}").format(name)
            selector.setMRMLScene(slicer.mrmlScene)
            selector.connect("currentNodeChanged(vtkMRMLNode*)", partial(self.onVolume, name))
            layout.addRow(name, selector)
            self._selectors[name] = selector
