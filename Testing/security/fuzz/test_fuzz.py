"""A part of the fuzzing in every run of the tests: the same files each time. `make fuzz` goes on from there."""

import os

import pytest

from .run import run_cases
from .targets import TARGETS

CASES = 40
SLOW = 10  # of DICOM: each case is a whole series


@pytest.mark.parametrize("target", TARGETS)
def test_no_crash_no_hang_nothing_unforeseen_nothing_left(target, tmp_path):
    count = SLOW if target.startswith("dicom") else CASES
    failures = run_cases(target, "in every run", 0, count, tmp_path / "cases")
    assert not failures, "\n\n".join(map(str, failures))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals and no such timer")
@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("os.abort()", "signal 6"),
        ("any(iter(int, 1))", "signal 27"),
        ("1 / 0", "ZeroDivisionError"),
        ("tempfile.mkdtemp()", "left behind"),
    ],
)
def test_the_fuzzer_itself_notices(act, told, tmp_path, monkeypatch):
    """What a reader may do at one of its files, here done on purpose by what every child imports first."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'fuzz.child' in sys.orig_argv:\n"
        "    import os, tempfile\n"
        "    import fuzz.run, fuzz.targets\n"
        "    fuzz.run.CPU_S = 1\n"
        "    def read(path):\n"
        f"        if path.stat().st_size % 2: {act}\n"
        "    lay_out = lambda rng, place: (place / 'x', (place / 'x').write_bytes(bytes(rng.randrange(4))))[0]\n"
        "    fuzz.targets.TARGETS['made'] = lambda folder: lay_out, read\n",
        "utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failures = run_cases("made", "x", 0, 6, tmp_path / "cases")
    assert failures and all(told in f.what for f in failures)
    assert {f.number for f in failures} < set(range(6))
