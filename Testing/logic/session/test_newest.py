"""What follows a hand: the newest is answered, and always that one."""

import heapq
import itertools

import numpy as np
import pytest

from DeepSegLogic.session import Newest, newest


class Loop:
    """An event loop whose clock stands still between calls."""

    def __init__(self, monkeypatch):
        self.now, self._due, self._number = 100.0, [], 0
        monkeypatch.setattr(newest.time, "monotonic", lambda: self.now)

    def later(self, seconds, call):
        self._number += 1
        heapq.heappush(self._due, (self.now + seconds, self._number, call))

    def run_until(self, end):
        while self._due and self._due[0][0] <= end:
            at, _, call = heapq.heappop(self._due)
            self.now = max(self.now, at)
            call()
        self.now = max(self.now, end)


@pytest.mark.parametrize("seed", range(300))
def test_the_last_place_is_always_shown_soon_and_none_is_shown_twice(monkeypatch, seed):
    random = np.random.default_rng(seed)
    pause, takes = random.choice([0.0, 0.1, 0.3]), random.uniform(0, 0.5)
    loop, shown, place, wanted = Loop(monkeypatch), [], 0, None

    def show():
        shown.append((place, loop.now))
        loop.now += takes

    outline = Newest(show, loop.later, pause)
    for _ in range(random.integers(1, 40)):
        loop.run_until(loop.now + random.choice([0.0, 0.01, 1.0]) * random.random())
        if random.random() < 0.2:  # the hand drops what it draws
            outline.drop()
            wanted = None
        else:
            place += 1
            wanted = place
            outline.ask()
    stopped = loop.now
    loop.run_until(stopped + 10)
    if wanted is not None:
        at = next(at for which, at in shown if which == wanted)
        assert at <= stopped + pause + 1e-6
    assert len({which for which, _ in shown}) == len(shown)
    for (_, one), (_, other) in itertools.pairwise(shown):
        assert other - one >= takes - 1e-6, "one at a time"


def test_a_spin_of_the_wheel_is_answered_once(monkeypatch):
    loop, answers, reach = Loop(monkeypatch), [], 0
    outline = Newest(lambda: answers.append(reach), loop.later)
    for reach in range(1, 11):  # noqa: B007 - looked up by the answer
        outline.ask()
    loop.run_until(loop.now)
    assert answers == [10]


def test_what_fails_once_is_answered_the_next_time(monkeypatch):
    loop, asked = Loop(monkeypatch), []

    def fail_first():
        asked.append(1)
        if len(asked) == 1:
            raise ValueError

    outline = Newest(fail_first, loop.later, 0.3)
    outline.ask()
    with pytest.raises(ValueError):
        loop.run_until(loop.now)
    outline.ask()
    loop.run_until(loop.now + 0.29)
    assert len(asked) == 1
    loop.run_until(loop.now + 0.02)
    assert len(asked) == 2
