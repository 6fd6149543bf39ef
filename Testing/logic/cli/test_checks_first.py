"""What is cheap to know is refused before anything is read, downloaded or computed."""

import json

import pytest
from bright_detector import write_bright_model

from DeepSegLogic.cli import _command_line, main
from DeepSegLogic.cli.help import all_commands

SLOW = (
    *("DeepSegLogic.worker.isolated.IsolatedReader._read", "DeepSegLogic.models.install.download_model"),
    *("DeepSegLogic.cohort.cases.find_cases", "DeepSegLogic.detection.score_files.read_tables"),
    *("DeepSegLogic.training.dataset.find_cases", "DeepSegLogic.training.dataset.find_images"),
    *("DeepSegLogic.evaluation.card_facts.fit_to", "DeepSegLogic.adaptation.fine_tune.check_cases"),
    *("DeepSegLogic.results.report.write_report", "DeepSegLogic.models.import_export.export_model"),
    *("DeepSegLogic.adaptation.cases.CorrectedCases.usable",),
)
LINES = {
    "segment": "ct.nrrd -o out",
    "cohort": "data -o out",
    "refine": "labels.nii.gz -i ct.nrrd -p prompts.json -o out.nii.gz",
    "explain": "ct.nrrd -o out.nii.gz --structure lung_left",
    "disagree": "ct.nrrd -o out",
    "surfaces": "labels.nii.gz -o out --printable",
    "measure": "labels.nii.gz -i ct.nrrd --features -o out",
    "plan": "labels.nii.gz --plan plan.json -o out",
    "train": "data -o out",
    "pretrain": "data -o out",
    "calibrate": "ct_demo --held-out data",
    "evaluate": "labels.nii.gz other.nii.gz -o out",
    "compare": "labels.nii.gz other.nii.gz -o out",
    "stress": "ct.nrrd labels.nii.gz -o out.csv",
    "enhance": "ct.nrrd -o out.nii.gz",
    "enhance-train": "ct.nrrd -o out.pth",
    "what": "ct.nrrd",
    "estimate": "ct.nrrd",
    "report": "data -o out.html",
    "detect": "ct.nrrd -o out -m bright",
    "evaluate-boxes": "data data -o out",
    "models export": "ct_demo -o out",
    "adapt run": "ct_demo",
}
"""A line for each command that reads or computes much, which would begin to."""

MISSING = "missing.nii.gz"
WRONG = {
    **dict.fromkeys(("image", "labels", "roi-mask", "vertebrae", "baseline-image", "followup-image", "worse"), MISSING),
    **dict.fromkeys(("prompts", "probabilities", "plan", "groups", "checkpoint", "changes"), MISSING),
    **dict.fromkeys(("held-out", "trained-on"), "missing"),
    **dict.fromkeys(("model", "from", "with"), "no_such_model"),
    **dict.fromkeys(("structures", "structure"), "no_such_structure"),
    **dict.fromkeys(("format", "surfaces"), "stl,doc"),
    **dict.fromkeys(("quality", "task", "enhance", "method", "smoothing", "coordinates", "preset", "engine"), "wild"),
    **dict.fromkeys(("network", "fusion", "loss", "optimizer", "federated"), "wild"),
    **dict.fromkeys(("distance", "contact", "encasement", "distance-map"), "liver"),
    **dict.fromkeys(("spacing", "patch", "roi", "at"), "1,2"),
    **dict.fromkeys(("minutes", "steps", "batch", "folds", "workers", "min-score", "lesion-iou", "reach"), "-1"),
    **dict.fromkeys(("max-error-mm", "triangles", "min-piece-ml", "min-wall-mm", "tolerance-mm", "within-mm"), "-1"),
    "device": "gpu",
    "output": "ct.nrrd/out",
    "difference": "map.doc",
    "picture": "ct.nrrd/out.png",
    "vtp": "map.doc",
    "channel": "PET",
    "take": "liver",
    "part": "3",
    "server": "http://127.0.0.1:1",
    "weight": "liver",
    **dict.fromkeys(("licence", "citation"), "rung \a bell"),
}
LATER = {
    "structures of surfaces and evaluate": "as the next",
    "match diameters thickness vessel lesions tubular": "names that only the files know",
    "days": "any number",
    "scheduler": "is asked when the cases are known",
    "fold address rounds sites wait-minutes proximal certificate key clip noise": "belong to others, tested there",
}
COMMANDS = {" ".join(path): command for path, command in all_commands(_command_line())}


def options_of(command):
    options = [p for p in COMMANDS[command].params if p.param_type_name == "option" and not p.is_flag]
    return [next(o for o in p.opts if o.startswith("--"))[2:] for p in options]


def cases():
    known = {name for names in LATER for name in names.split()}
    found = [(command, name) for command in LINES for name in options_of(command) if name not in known]
    return [case for case in found if case not in (("surfaces", "structures"), ("evaluate", "structures"))]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("ct.nrrd", "labels.nii.gz", "other.nii.gz"):
        (tmp_path / name).write_bytes(b"looked at by nobody")
    (tmp_path / "data").mkdir()
    prompt = {"structure": "liver", "type": "point", "positive": True, "ras": [1, 2, 3]}
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": [prompt]}), "utf-8")
    (tmp_path / "plan.json").write_text(json.dumps({"format": "deepseg.plan", "version": 1, "units": "mm"}), "utf-8")
    write_bright_model(tmp_path / "bright")
    for name in SLOW:
        monkeypatch.setattr(name, began)

    def ran(command, *more):
        code = main([*command.split(), *LINES[command].split(), *more])
        return code, capfd.readouterr().err

    return ran


def began(*_, **__):
    raise AssertionError("The work began")


@pytest.mark.parametrize("command", LINES)
def test_the_line_itself_begins_to_work(run, command):
    code, said = run(command)
    assert code == 1 and "The work began" in said


@pytest.mark.parametrize(("command", "option"), cases())
def test_what_is_wrong_is_refused_before_the_work(run, tmp_path, command, option):
    code, said = run(command, f"--{option}", WRONG[option])
    assert code in (2, 3, 4, 5, 6), said
    assert "The work began" not in said
    if option != "output":
        assert not [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name.startswith("out")]


@pytest.mark.parametrize(
    ("command", "output", "said"),
    [
        ("explain", "--output=scan.nii.gz", "scan.nii.gz is the input"),
        ("enhance", "--output=scan.nii.gz", "scan.nii.gz is the input"),
        ("enhance", "--difference=./scan.nii.gz", "scan.nii.gz is the input"),
        ("refine", "--output=scan.nii.gz", "scan.nii.gz is the input"),
        ("report", "--output=data/segmentation.seg.nrrd", "does not end with .html"),
        ("stress", "--output=labels.nii.gz", "does not end with .csv"),
        ("what", "--picture=scan.nii.gz", "does not end with .png"),
    ],
)
def test_no_input_is_overwritten(run, tmp_path, monkeypatch, command, output, said):
    (tmp_path / "ct.nrrd").rename(tmp_path / "scan.nii.gz")
    monkeypatch.setitem(LINES, command, LINES[command].replace("ct.nrrd", "scan.nii.gz"))
    code, told = run(command, output)
    assert code == 2 and said in told and "The work began" not in told


@pytest.mark.parametrize(
    ("command", "option", "needed"),
    [
        ("measure", "--vtp=out.vtp", "--distance-map"),
        ("measure", "--vertebrae=other.nii.gz", "--body-composition"),
        ("report", "--changes=data", "--draft"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(run, command, option, needed):
    code, told = run(command, option)
    assert code == 2 and f"is given without {needed}" in told and "The work began" not in told


def test_a_corrected_label_map_may_replace_itself(run):
    assert "The work began" in run("refine", "-o", "labels.nii.gz")[1]


@pytest.mark.parametrize("command", sorted(set(LINES) - {"calibrate", "models export", "adapt run", "cohort"}))
def test_a_missing_input_is_told_before_the_work(run, command):
    words = LINES[command].split()
    code = main([*command.split(), "missing", *words[1:]])
    assert code in (2, 3)


@pytest.mark.parametrize("command", ["segment", "explain", "stress", "cohort", "disagree"])
def test_an_unknown_structure_of_a_model_that_is_not_here_costs_no_download(run, command):
    given = "--structure" if command == "explain" else "--structures"
    model = ["-m", "total_fast", "--yes", *(["--structure", "liver"] if command == "explain" else [])]
    code, said = run(command, *model)
    assert code == 1 and "The work began" in said
    code, said = run(command, *model, given, "no_such_structure")
    assert code == 2 and "no_such_structure" in said


def test_commands_that_read_and_have_such_options_are_all_here():
    quick = {"serve", "web", "demo", "doctor", "servers add", "drafting set", "adapt back", "models list"}
    quick |= {"models import", "pacs find", "pacs fetch", "tokens add", "tokens list", "tokens revoke", "adapt add"}
    assert {name for name in COMMANDS if options_of(name)} - quick == set(LINES)
