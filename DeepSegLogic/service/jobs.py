"""Jobs of all users: kept in files, so that they outlive the server, and put in a fair order.

::

    <user>/jobs/<id>/job.json       what was asked, and how it ended
    <user>/jobs/<id>/result.gz      the result, as arrays
    <user>/jobs/<id>/files.zip      the result, as files, if they were asked for
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..util.errors import DeepSegError
from ..util.words import counted
from .files import private_folder, write_json
from .settings import ServiceError, Settings

OPEN = ("queued", "running")
MOST_STARTS = 3
"""How often a job is started when the server ends under it again and again."""


@dataclass
class Job:
    """A job. ``stage`` and what follows are not kept in its file."""

    user: str
    id: str
    request: dict[str, Any]
    volumes: list[str]
    created: float
    state: str = "queued"
    starts: int = 0
    ended: float | None = None
    error: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    stop: bool = False

    @property
    def described(self) -> str:
        """For the log: who wants what, without anything of a patient."""
        model = self.request.get("model")
        return f"Job {self.id} of {self.user}, {self.request['request']}" + (f" with {model!r}" if model else "")


class Jobs:
    """All jobs of a server. Any thread may call any method.

    Args:
        folder: with a folder for each user.

    Attributes:
        ended: how many jobs ended since the start, by state.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        self.ended: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._served: dict[str, float] = {}  # user → when a job of theirs began last
        for path in folder.glob("*/jobs/*/job.json"):
            self._read(path)

    def put(self, user: str, job_id: str, request: dict[str, Any], volumes: Iterable[str]) -> Job:
        """Queue a job; the same one again is no second one.

        Raises:
            ServiceError: the user has too many open jobs, or another job has this id.
        """
        with self._lock:
            known = self._jobs.get((user, job_id))
            if known is not None:
                if known.request != request:
                    raise ServiceError(409, "usage.conflict", "Another job has this id.", "Choose another id.")
                return known
            if sum(job.user == user and job.state in OPEN for job in self._jobs.values()) >= self._settings.open_jobs:
                raise ServiceError(
                    429,
                    "usage.rate",
                    f"You have {counted(self._settings.open_jobs, 'job')} waiting or running, the most that this "
                    "server allows.",
                    "Wait until one has ended.",
                )
            job = Job(user, job_id, request, sorted(volumes), time.time())
            private_folder(self.place(job))
            self._save(job)
            self._jobs[user, job_id] = job
            return job

    def get(self, user: str, job_id: str) -> Job:
        """A job of this user.

        Raises:
            ServiceError: there is none.
        """
        with self._lock:
            job = self._jobs.get((user, job_id))
        if job is None:
            raise ServiceError(404, "usage.unknown", "There is no such job, or no longer.", "Start it again.")
        return job

    def of(self, user: str) -> list[Job]:
        """The jobs of a user, the oldest first."""
        with self._lock:
            return sorted((job for job in self._jobs.values() if job.user == user), key=lambda job: job.created)

    def cancel(self, job: Job) -> None:
        """Stop a job; one that has ended stays as it is."""
        with self._lock:
            job.stop = True
            if job.state == "queued":
                self.end(job, "cancelled")

    def remove(self, job: Job) -> None:
        """Forget a job that has ended, with its results; stop it otherwise."""
        with self._lock:
            if job.state in OPEN:
                self.cancel(job)
            else:
                self._jobs.pop((job.user, job.id), None)
                shutil.rmtree(self.place(job), ignore_errors=True)

    def take_next(self) -> Job | None:
        """The next job, which is running from now on."""
        with self._lock:
            queue = self._queue()
            if not queue:
                return None
            job = queue[0]
            self._served[job.user] = time.time()
            job.state, job.starts = "running", job.starts + 1
            with suppress(OSError):
                self._save(job)
            return job

    def end(self, job: Job, state: str, error: dict[str, Any] | None = None) -> None:
        """Note how a job ended."""
        with self._lock:
            job.state, job.error, job.ended, job.fraction, job.message = state, error, time.time(), 1.0, ""
            self.ended[state] += 1
            with suppress(OSError):  # a full disk: after a restart the job would run again
                self._save(job)

    def places(self) -> dict[tuple[str, str], int]:
        """How many jobs are before each queued one, by user and id."""
        with self._lock:
            return {(job.user, job.id): before for before, job in enumerate(self._queue())}

    def in_use(self, user: str) -> set[str]:
        """The volumes that open jobs of a user need."""
        with self._lock:
            return {v for job in self._jobs.values() if job.user == user and job.state in OPEN for v in job.volumes}

    def counts(self) -> Mapping[str, int]:
        """How many jobs are queued and running."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return {state: states.count(state) for state in OPEN}

    def sweep(self) -> None:
        """Forget the jobs that ended long ago."""
        with self._lock:
            for job in list(self._jobs.values()):
                if job.ended is not None and time.time() - job.ended > self._settings.keep_s:
                    self.remove(job)

    def place(self, job: Job) -> Path:
        """The folder of a job."""
        return self._folder / job.user / "jobs" / job.id

    def _queue(self) -> list[Job]:
        return fair_order([job for job in self._jobs.values() if job.state == "queued"], self._served)

    def _read(self, path: Path) -> None:
        """Take a job from its file. One that ran when the server ended is queued again."""
        try:
            job = Job(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            shutil.rmtree(path.parent, ignore_errors=True)
            return
        if job.state == "running":
            job.state = "queued"
            if job.starts >= MOST_STARTS:
                error = DeepSegError("The server ended each time this job ran.", "Tell whoever runs the server.")
                self.end(job, "failed", {"code": error.code, "message": error.message, "remedy": error.remedy})
        self._jobs[job.user, job.id] = job

    def _save(self, job: Job) -> None:
        kept = asdict(job)
        for name in ("stage", "fraction", "message", "stop"):
            del kept[name]
        write_json(self.place(job) / "job.json", kept)


def fair_order(jobs: Iterable[Job], served: Mapping[str, float]) -> list[Job]:
    """Jobs in the order in which they run: users take turns, and each user's jobs keep their order.

    Args:
        served: when each user's last job began; who waited longest comes first.
    """
    waiting: dict[str, deque[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.created):
        waiting.setdefault(job.user, deque()).append(job)
    users = sorted(waiting, key=lambda user: (served.get(user, 0.0), waiting[user][0].created))
    order = []
    while any(waiting.values()):
        order += [waiting[user].popleft() for user in users if waiting[user]]
    return order
