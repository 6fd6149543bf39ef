"""DeepSeg's logic layer: CT in, organ label maps, surfaces and measurements out. No Qt, no ``slicer``.

These are the public names, each imported on first use: ``import DeepSegLogic`` takes milliseconds, and torch is loaded
only with a model. ``__init__.pyi`` tells type checkers and editors the same names.

Example:
    >>> from DeepSegLogic import read_volume, segment
    >>> result = segment(read_volume("ct.nrrd"), "ct_demo", structures=["lung_left"], device="cpu")
    >>> result.label_map.volume_ml("lung_left") > 1000
    True
"""

from .util.lazy import imported_on_use

_HOME_OF = {
    # data
    "Code": "data.label_map",
    "LabelMap": "data.label_map",
    "Structure": "data.label_map",
    "TopProbabilities": "data.probabilities",
    "Volume": "data.volume",
    # files
    "read_label_map": "io.read",
    "read_volume": "io.read",
    "write_dicom_seg": "io.dicom.seg_writer",
    "write_label_map": "io.write",
    "write_measurement_report": "io.dicom.report_writer",
    "write_rtstruct": "io.dicom.rtstruct_writer",
    "write_volume": "io.write",
    # models
    "Model": "models.model",
    "ModelCard": "models.card",
    "ensure_model": "models.install",
    "find_model": "models.find",
    "load_model": "models.model",
    # what a scan is
    "Scan": "classify.scan",
    "what_is": "classify.scan",
    # segmentation
    "Result": "segmentation",
    "RunEstimate": "inference.estimate",
    "estimate": "segmentation",
    "segment": "segmentation",
    # cleaner images
    "Enhanced": "enhance.enhancement",
    "enhance_volume": "enhance.enhancement",
    "segment_enhanced": "enhance.before",
    # corrections
    "Box": "refinement.prompts",
    "Lasso": "refinement.prompts",
    "Point": "refinement.prompts",
    "Proposal": "refinement.proposal",
    "Refinement": "refinement.solver",
    "Scribble": "refinement.prompts",
    "propose": "refinement.solver",
    "refine": "refinement.solver",
    # surfaces and measurements
    "Measurement": "review.measurements",
    "Surface": "surfaces.surface",
    "SurfaceSet": "surfaces.surface",
    "WrittenSurfaces": "surfaces.export",
    "make_surfaces": "surfaces.extract",
    "measure": "review.measurements",
    "write_surfaces": "surfaces.export",
    # evaluation
    "Evaluation": "evaluation.evaluation",
    "evaluate": "evaluation.evaluation",
    "write_evaluation": "evaluation.output",
    # detection
    "BoxFinding": "detection.finding",
    "BoxFindings": "detection.finding",
    "detect": "detection.detect",
    "read_findings_csv": "detection.files",
    "score_detections": "detection.metrics",
    "write_findings": "detection.output",
    "write_findings_csv": "detection.files",
    # another machine
    "Server": "remote.server",
    # follow-up
    "FollowUp": "followup.follow_up",
    "TimePoint": "followup.time_point",
    "follow_up": "followup.follow_up",
    "read_time_point": "followup.time_point",
    "write_follow_up": "followup.output",
    # learning from corrections
    "CorrectedCase": "adaptation.cases",
    "CorrectedCases": "adaptation.cases",
    "Offer": "adaptation.offer",
    "adapt": "adaptation.fine_tune",
    "go_back": "adaptation.lineage",
    # drafted reports
    "Draft": "results.draft",
    "Endpoint": "drafting.endpoint",
    "draft_report": "drafting.result_folder",
    # planning
    "Ellipsoid": "planning.cuts",
    "FreeSurface": "planning.free_surfaces",
    "Organ": "planning.resections",
    "Plan": "planning.plan_file",
    "Plane": "planning.cuts",
    "Territories": "planning.territories",
    "approach": "planning.approaches",
    "distance": "planning.distances",
    "evaluate_plan": "planning.evaluation",
    "margin": "planning.margins",
    "read_plan": "planning.plan_file",
    # threads of your own process
    "openmp_settings": "util.openmp",
    # progress and errors
    "Cancel": "util.progress",
    "Cancelled": "util.errors",
    "DeepSegError": "util.errors",
    "InputError": "util.errors",
    "ModelError": "util.errors",
    "OutputError": "util.errors",
    "Progress": "util.progress",
    "ResourceError": "util.errors",
    "UsageError": "util.errors",
    # which DeepSeg this is
    "__version__": "util.version",
}

__all__ = [*_HOME_OF]

__getattr__ = imported_on_use(__name__, _HOME_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
