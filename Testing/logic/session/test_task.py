"""What the long task says of itself."""

from DeepSegLogic.session.task import Run
from DeepSegLogic.worker import Event


def test_after_the_last_window_no_time_is_promised(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    run = Run("segment")
    stages = []
    for stage, fraction in (("inference", 0.0), ("inference", 0.5), ("inference", 1.0), ("finish", 0.5)):
        run.advance(Event("progress", stage=stage, fraction=fraction))
        stages.append((run.stage, run.remaining_s is None, run.fraction < 1))
    promised = [("Segmenting", True, True), ("Segmenting", False, True)]
    assert stages == [*promised, ("Segmenting", True, True), ("Finishing", True, True)]
