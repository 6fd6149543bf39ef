"""What is saved with the scene: the choices, and which nodes they are about."""

import json

from DeepSegLogic.inference import quality

VOLUME_ROLE, VOLUME_CLASS = "InputVolume", "vtkMRMLScalarVolumeNode"
RESULT_ROLE, RESULT_CLASS = "ResultSegmentation", "vtkMRMLSegmentationNode"
SETTINGS = "Settings"
QUALITIES = tuple(quality.QUALITIES)
DEVICES = ("auto", "cuda", "mps", "cpu")


def save(sceneSession, parameterNode):
    """Keep the state in a parameter node."""
    session = sceneSession.session
    settings = {
        "model": session.model.id if session.model else "",
        "structures": session.chosen,
        "quality": session.quality,
        "device": session.device,
        "replace": sceneSession.replaceResult,
        "corrector": session.correctors.chosen.id,
    }
    parameterNode.SetParameter(SETTINGS, json.dumps(settings))
    for role, node in ((VOLUME_ROLE, sceneSession.volumeNode), (RESULT_ROLE, sceneSession.resultNode)):
        parameterNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)


def restore(sceneSession, parameterNode):
    """Take the state from a parameter node.

    Another version, or anybody, may have written it: what is not understood, or not here any more, is left out. All is
    read before anything is changed, for the panel saves every change.
    """
    session, settings = sceneSession.session, _settings(parameterNode)
    nodes = _node(parameterNode, VOLUME_ROLE, VOLUME_CLASS), _node(parameterNode, RESULT_ROLE, RESULT_CLASS)
    model, structures = settings.get("model"), settings.get("structures")
    if any(entry.card.id == model for entry in session.all_models):
        session.choose_model(model)
        if isinstance(structures, list):
            session.choose_structures([name for name in structures if isinstance(name, str)])
    if settings.get("quality") in QUALITIES:
        session.set_quality(settings["quality"])
    if settings.get("device") in DEVICES:
        session.set_device(settings["device"])
    if isinstance(settings.get("corrector"), str):
        session.choose_corrector(settings["corrector"])
    sceneSession.replaceResult = settings.get("replace") is True
    sceneSession.resume(*nodes)


def _settings(parameterNode):
    try:
        settings = json.loads(parameterNode.GetParameter(SETTINGS))
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def _node(parameterNode, role, className):
    node = parameterNode.GetNodeReference(role)
    return node if node is not None and node.IsA(className) else None
