"""One thing has one name over the whole command line, and the help says what is wanted."""

import re
from collections import defaultdict

import pytest

from DeepSegLogic.cli import _command_line, main
from DeepSegLogic.cli.help import all_commands

COMMANDS = {" ".join(path): command for path, command in all_commands(_command_line())}
OPTIONS = [(name, p) for name, command in COMMANDS.items() for p in command.params if p.param_type_name == "option"]
ARGUMENTS = [(name, p) for name, command in COMMANDS.items() for p in command.params if p.param_type_name == "argument"]

NAMES = {
    # what is wanted → the only options that may ask for it
    "IMAGE": "image baseline-image followup-image worse",
    "NAME=IMAGE": "channel",
    "LABELS": "labels roi-mask vertebrae",
    "DATA": "held-out trained-on",
    "MODEL": "model from with",
    "NAMES": "structures lesions tubular",
    "NAME": "structure diameters thickness vessel language-model",
    "A,B": "distance contact distance-map",
    "TUMOR,VESSEL": "encasement",
    "STRUCTURE=N": "take",
    "NAME=FACTOR": "weight",
    "FORMATS": "format surfaces",
    "FOLDER": "output folder volumes changes",
    "FILE": "output prompts probabilities plan vtp groups checkpoint difference picture card certificate key",
    "PATH": "output",
    "DEVICE": "device",
    "URL": "server",
    "ADDRESS": "address scheduler",
    "HOST": "host",
    "PORT": "port",
    "QUALITY": "quality",
    "TASK": "task enhance",
    "METHOD": "method",
    "PRESET": "preset",
    "LEVEL": "smoothing",
    "SYSTEM": "coordinates",
    "ENGINE": "engine",
    "NETWORK": "network",
    "FUSION": "fusion",
    "LOSS": "loss",
    "OPTIMIZER": "optimizer",
    "ROLE": "federated",
    "PATTERN": "match",
    "I/N": "part",
    "N": "workers steps batch folds fold rounds sites triangles",
    "R,A,S": "at",
    "R1,A1,S1,R2,A2,S2": "roi",
    "Z,Y,X": "spacing patch",
    "MM": "max-error-mm min-wall-mm within-mm tolerance-mm",
    "ML": "min-piece-ml",
    "GB": "quota-gb largest-gb",
    "HOURS": "keep-hours",
    "MINUTES": "minutes wait-minutes",
    "DAYS": "days",
    "FACTOR": "reach noise",
    "NORM": "clip",
    "MU": "proximal",
    "IOU": "lesion-iou",
    "SCORE": "min-score",
    "ID": "id patient",
    "UID": "study",
    "MODALITY": "modality",
    "VERSION": "to",
    "TEXT": "title licence citation",
    "FINGERPRINT": "fingerprint",
}
SHORT = {"i": "image", "f": "format", "m": "model", "o": "output", "p": "prompts", "q": "quiet", "s": "structures"}
SHORT |= {"t": "task", "y": "yes"}
FLAGS = """
    version quiet json yes force uncertainty save-probabilities skip-elsewhere dry-run joint printable features
    body-composition pictures contrast by-value deformable tls archive no-browser draft installed replace trust vision
    other-host
"""
PLACES = {
    "IMAGE": "image",
    "IMAGES": "images",
    "LABELS": "labels",
    "PREDICTION": "prediction",
    "REFERENCE": "reference",
    "BASELINE": "baseline",
    "FOLLOWUP": "followup",
    "RESULT": "result",
    "RESULTS": "results",
    "DATA": "data",
    "MODEL": "model",
    "MODELS": "models",
    "PATH": "path",
    "FILES": "files",
    "URL": "url",
    "USER": "user",
    "SERIES": "series",
    "WORDS": "words",
    "DIGESTS": "digests",
}

knows_types = pytest.mark.skipif(
    not hasattr(OPTIONS[0][1], "bare_type"),
    reason="an older Typer, which tells no types and shows Python's in its help",
)


def long_of(option):
    return next(name for name in option.opts if name.startswith("--"))[2:]


def test_each_option_asks_for_what_its_name_says():
    asked = defaultdict(set)
    for _, option in OPTIONS:
        if not option.is_flag:
            asked[option.metavar].add(long_of(option))
    assert asked == {metavar: set(names.split()) for metavar, names in NAMES.items()}


def test_flags_are_flags_everywhere():
    flags = {long_of(option) for _, option in OPTIONS if option.is_flag}
    assert flags == set(FLAGS.split())
    assert not flags & {name for names in NAMES.values() for name in names.split()}


def test_each_option_has_one_long_name_and_each_short_flag_one_meaning():
    for command, option in OPTIONS:
        name = long_of(option)
        short = [key for key, value in SHORT.items() if value == name]
        assert option.opts == [f"--{name}", *(f"-{key}" for key in short)], command
        assert not option.secondary_opts, command


@knows_types
def test_an_option_takes_the_same_kind_of_value_in_every_command():
    kinds = defaultdict(set)
    for _, option in OPTIONS:
        kinds[long_of(option)].add(re.sub(r"^list\[(.*)\]$", r"\1", option.bare_type().replace("pathlib.", "")))
    assert not {name: found for name, found in kinds.items() if len(found) > 1}


def test_a_unit_in_a_name_is_the_one_that_is_asked_for():
    for command, option in OPTIONS:
        for unit in ("mm", "ml", "gb", "hours", "minutes", "days"):
            if re.search(rf"(^|-){unit}$", long_of(option)):
                assert option.metavar == unit.upper(), command


def test_arguments_are_called_what_they_are():
    assert {(p.metavar, p.name) for _, p in ARGUMENTS} == set(PLACES.items())
    several = {p.metavar for _, p in ARGUMENTS if p.nargs != 1}
    assert several == {"IMAGES", "MODELS", "FILES", "WORDS", "DIGESTS", "RESULTS"}


@knows_types
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_shows_no_type_of_python(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert not re.findall(r"<\w+[>\[]|INTEGER|FLOAT|BOOLEAN", said)
    for parameter in COMMANDS[command].params:
        assert parameter.metavar == "" or parameter.metavar in said, parameter.name
        assert parameter.help, parameter.name


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if hasattr(command, "commands")])
def test_every_command_says_what_it_does(command):
    for one in COMMANDS[command].commands.values():
        assert (one.help or "").rstrip().endswith("."), one.name


def test_all_commands_are_looked_at():
    assert len(COMMANDS) > 50 and len(OPTIONS) > 250
