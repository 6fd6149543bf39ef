"""What is saved with the scene: the choices, and which nodes they are about."""

import json
from contextlib import suppress

from DeepSegLogic.inference import presets as quality
from DeepSegLogic.session.enhancements import enhancements
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.json_text import json_of

VOLUME_ROLE, VOLUME_CLASS = "InputVolume", "vtkMRMLScalarVolumeNode"
CHANNEL_ROLE = "InputVolume.{}"  # by name of the channel
RESULT_ROLE, RESULT_CLASS = "ResultSegmentation", "vtkMRMLSegmentationNode"
SETTINGS = "Settings"
QUALITIES = tuple(quality.QUALITIES)
DEVICES = ("auto", "cuda", "mps", "cpu")


def save(sceneSession, parameterNode):
    """Keep the state in a parameter node."""
    session = sceneSession.session
    settings = {
        "model": session.choices.model.id if session.choices.model else "",
        "structures": list(session.choices.structures.chosen),
        "quality": session.choices.settings.quality,
        "device": session.choices.settings.device,
        "enhance": session.choices.settings.enhance,
        "replace": sceneSession.replaceResult,
        "corrector": session.choices.correctors.chosen.id,
    }
    parameterNode.SetParameter(SETTINGS, json.dumps(settings))
    nodes = {VOLUME_ROLE: sceneSession.volumeNode, RESULT_ROLE: sceneSession.resultNode}
    for name in session.choices.channels.names:
        nodes[CHANNEL_ROLE.format(name)] = sceneSession.channelNode(name)
    for role, node in nodes.items():
        parameterNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)


def restore(sceneSession, parameterNode):
    """Take the state from a parameter node.

    Another version, or anybody, may have written it: what is unknown, or no longer here, is left out. A node that it
    does not name stays: a scene without one may have been added to this one. All is read before anything is changed,
    since the panel saves every change.
    """
    session, settings = sceneSession.session, _settings(parameterNode)
    volumeNode = _node(parameterNode, VOLUME_ROLE, VOLUME_CLASS, sceneSession.volumeNode)
    resultNode = _node(parameterNode, RESULT_ROLE, RESULT_CLASS, sceneSession.resultNode)
    model, structures = settings.get("model"), settings.get("structures")
    card = next((entry.card for entry in session.choices.models.all if entry.card.id == model), None)
    channelNodes = {
        name: _node(parameterNode, CHANNEL_ROLE.format(name), VOLUME_CLASS, sceneSession.channelNode(name))
        for name in (card.channels[1:] if card is not None else ())
    }
    if card is not None:
        session.choices.choose_model(model)
        if isinstance(structures, list):
            session.choices.choose_structures([name for name in structures if isinstance(name, str)])
    if settings.get("quality") in QUALITIES:
        session.choices.set_quality(settings["quality"])
    if settings.get("device") in DEVICES:
        session.choices.set_device(settings["device"])
    if settings.get("enhance") in ("", *enhancements()):
        session.choices.set_enhance(settings["enhance"])
    if isinstance(settings.get("corrector"), str):
        session.choices.choose_corrector(settings["corrector"])
    sceneSession.setReplaceResult(settings.get("replace") is True)
    for name, node in channelNodes.items():
        with suppress(DeepSegError):  # it cannot be used: the panel asks for another one
            sceneSession.setChannelNode(name, node)
    sceneSession.resume(volumeNode, resultNode)


def _settings(parameterNode):
    try:
        settings = json_of(parameterNode.GetParameter(SETTINGS).encode())
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def _node(parameterNode, role, className, present):
    if not parameterNode.GetNodeReferenceID(role):
        return present
    node = parameterNode.GetNodeReference(role)
    return node if node is not None and node.IsA(className) else None
