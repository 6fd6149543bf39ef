"""The addresses of the service. What they take and give is in :mod:`DeepSegLogic.service.requests`."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse

from ..remote.protocol import VERSION
from ..util.errors import DeepSegError
from ..util.version import __version__
from . import requests as schema
from .dispatcher import Dispatcher
from .guard import Guard, problem
from .jobs import OPEN, Job, Jobs
from .metrics import Metrics
from .page import page
from .settings import ServiceError, Settings
from .users import Users
from .volumes import VolumeStore, disk_full, unknown_volume

log = logging.getLogger(__name__)

_SWEEP_S = 60.0
_LOOK_S = 0.1
_BEAT_S = 1.0
_ABOUT = "Segmentation of CT by upload. Every other address needs the header Authorization: Bearer TOKEN."

VolumeName = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
JobName = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="A random number that the client chose.")]


class Service:
    """What the addresses share.

    Args:
        settings: see there; the folder is locked by the caller.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.users = Users(settings.folder)
        self._folder = settings.folder / "users"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self.jobs = Jobs(self._folder, settings)
        self.dispatcher = Dispatcher(self.jobs, self._folder, settings)
        self._stores: dict[str, VolumeStore] = {}
        self._lock = threading.Lock()
        self.metrics = Metrics(self.jobs, lambda: sum(store.size for store in self.stores()))

    def volumes(self, user: str) -> VolumeStore:
        """The volumes of a user."""
        with self._lock:
            if user not in self._stores:
                self._stores[user] = VolumeStore(self._folder / user, self.settings)
            return self._stores[user]

    def stores(self) -> list[VolumeStore]:
        """The volumes of all users."""
        return [self.volumes(user) for user in self._known_users()]

    def sweep(self) -> None:
        """Delete what was kept long enough, also if a folder cannot be looked through."""
        self.jobs.sweep()
        for user in self._known_users():
            try:
                self.volumes(user).sweep(self.jobs.in_use(user))
            except (OSError, DeepSegError) as error:
                log.warning("Old volumes of %s could not be deleted: %s", user, error)

    def _known_users(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    async def sweep_often(self) -> None:
        """:meth:`sweep` until cancelled."""
        while True:
            try:
                await run_in_threadpool(self.sweep)
            except Exception:  # patients' data must not stay because of it
                log.exception("Old volumes and jobs could not be deleted.")
            await asyncio.sleep(_SWEEP_S)

    def state(self, job: Job) -> schema.JobState:
        """A job as clients see it."""
        ended = job.ended is not None
        return schema.JobState(
            **{name: getattr(job, name) for name in ("id", "state", "stage", "fraction", "message")},
            **{name: getattr(job, name) for name in ("created", "ended")},
            warnings=list(job.warnings),
            request=job.request["request"],
            place=self.jobs.places().get((job.user, job.id), 0),
            error=None if job.error is None else schema.Problem(**job.error),
            kept_until=job.ended + self.settings.keep_s if ended and job.ended else None,
            has_files=ended and (self.jobs.place(job) / "files.zip").exists(),
        )


def make_app(settings: Settings) -> Any:
    """The service as an ASGI application, behind its guard."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.dispatcher.start()
        sweeping = asyncio.create_task(service.sweep_often())
        yield
        sweeping.cancel()
        await run_in_threadpool(service.dispatcher.stop)

    app = FastAPI(
        title="DeepSeg server", version=str(VERSION), description=_ABOUT, lifespan=lifespan,
        openapi_url=f"/v{VERSION}/openapi.json", docs_url=None, redoc_url=None, responses={"default": _REFUSED},
    )  # fmt: skip
    _add_errors(app)
    _add_open_addresses(app)
    _add_volumes(app, service)
    _add_jobs(app, service)
    return Guard(app, service.users, settings, service.metrics)


def _user(request: Request) -> str:
    return str(request.state.user)


User = Annotated[str, Depends(_user)]
_TOKEN = [Depends(HTTPBearer(auto_error=False))]  # for the schema; the guard checks it
_REFUSED: dict[str, Any] = {"model": schema.Problem, "description": "The request was refused."}


def _not_json(kind: str) -> dict[str, Any]:
    """For an address, what the schema says of an answer that is no JSON."""
    return {"response_class": Response, "responses": {200: {"content": {kind: {}}}}}


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(DeepSegError)
    async def told(_: Request, error: DeepSegError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return problem(disk_full())
        return problem(ServiceError(500, "internal", "Unexpected error on the server.", "Its log says more."))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]  # its input is not repeated
        place = " ".join(str(part) for part in first["loc"])
        return problem(ServiceError(422, "usage.request", f"{place}: {first['msg']}.", "See the page of this server."))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        detail: object = error.detail
        if isinstance(detail, dict):
            return JSONResponse(detail, error.status_code)
        return problem(ServiceError(error.status_code, "usage.unknown", f"{detail}.", "Check the address."))


def _add_open_addresses(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": _POLICY})

    @app.get(f"/v{VERSION}/about")
    def about() -> schema.About:
        """What answers here. Needs no token."""
        return schema.About(protocol=VERSION, deepseg=__version__)


_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def _add_volumes(app: FastAPI, service: Service) -> None:
    @app.get(f"/v{VERSION}/models", dependencies=_TOKEN)
    def models() -> list[dict[str, Any]]:
        """The cards of the models that are installed on the server."""
        from ..models.find import models_here

        return [card.to_json() for card in models_here().values()]

    @app.post(f"/v{VERSION}/volumes", dependencies=_TOKEN)
    def announce(grid: schema.Grid, user: User) -> schema.Upload:
        """Announce a volume or label map; the answer says how much of it is here already."""
        header = grid.header()
        received = service.volumes(user).announce(header, service.jobs.in_use(user))
        return schema.Upload(id=header.id, received=received, bytes=header.nbytes)

    @app.get(f"/v{VERSION}/volumes/{{volume}}", dependencies=_TOKEN)
    def look(volume: VolumeName, user: User) -> schema.Upload:
        """How much of a volume is here."""
        store = service.volumes(user)
        return schema.Upload(id=volume, received=store.received(volume), bytes=store.header(volume).nbytes)

    @app.patch(f"/v{VERSION}/volumes/{{volume}}", dependencies=_TOKEN)
    async def append(
        request: Request,
        volume: VolumeName,
        user: User,
        offset: Annotated[int, Query(ge=0, description="Byte of the volume that the body begins with.")],
    ) -> schema.Upload:
        """Send raw voxels, all or a part, as they are or with Content-Encoding: gzip. What arrived is kept."""
        packing = request.headers.get("content-encoding", "identity").lower()
        if packing not in ("identity", "gzip"):
            raise ServiceError(415, "usage.gzip", "The body is packed in an unknown way.", "Use gzip, or nothing.")
        store = service.volumes(user)
        upload = store.append(volume, offset, packing == "gzip")
        writer = await run_in_threadpool(upload.__enter__)
        try:
            async for data in request.stream():
                await run_in_threadpool(writer.write, data)
        except ClientDisconnect as error:
            await run_in_threadpool(upload.__exit__, None, None, None)
            raise HTTPException(499) from error
        except BaseException as error:
            with suppress(type(error)):
                await run_in_threadpool(upload.__exit__, type(error), error, error.__traceback__)
            raise
        await run_in_threadpool(upload.__exit__, None, None, None)
        service.metrics.uploaded.inc(writer.taken)
        return look(volume, user)

    @app.delete(f"/v{VERSION}/volumes/{{volume}}", status_code=204, dependencies=_TOKEN)
    def remove(volume: VolumeName, user: User) -> None:
        """Delete a volume that no job needs."""
        service.volumes(user).remove(volume, service.jobs.in_use(user))

    @app.get(f"/v{VERSION}/metrics", dependencies=_TOKEN, **_not_json("text/plain"))
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_jobs(app: FastAPI, service: Service) -> None:
    address = f"/v{VERSION}/jobs/{{job}}"

    @app.put(address, dependencies=_TOKEN)
    def put(job: JobName, wanted: Annotated[schema.Request, Body()], user: User) -> schema.JobState:
        """Queue a job under an id that the client chooses. Once more does no harm: it is the same job."""
        store = service.volumes(user)
        if isinstance(wanted, schema.Estimate):
            store.must_take(wanted.nbytes)
        if not all(store.is_complete(volume) for volume in wanted.volumes):
            raise unknown_volume()
        for volume in wanted.volumes:
            store.header(volume)  # used now
        return service.state(service.jobs.put(user, job, wanted.model_dump(mode="json"), wanted.volumes))

    @app.get(f"/v{VERSION}/jobs", dependencies=_TOKEN)
    def all_jobs(user: User) -> list[schema.JobState]:
        """The user's jobs, the oldest first."""
        return [service.state(job) for job in service.jobs.of(user)]

    @app.get(address, dependencies=_TOKEN)
    def one(job: JobName, user: User) -> schema.JobState:
        """Where a job is."""
        return service.state(service.jobs.get(user, job))

    @app.get(f"{address}/events", dependencies=_TOKEN, **_not_json("text/event-stream"))
    async def events(job: JobName, user: User) -> StreamingResponse:
        """Where a job is, as server-sent events: a state whenever it changes, until it has ended."""
        return StreamingResponse(_events(service, service.jobs.get(user, job)), media_type="text/event-stream")

    @app.delete(address, status_code=204, dependencies=_TOKEN)
    def remove(job: JobName, user: User) -> None:
        """Cancel a job; delete it with its results if it has ended."""
        service.jobs.remove(service.jobs.get(user, job))

    @app.get(f"{address}/result", dependencies=_TOKEN, **_not_json("application/gzip"))
    def result(job: JobName, user: User) -> FileResponse:
        """The result as arrays: gzip of a line of JSON, then the raw arrays that it lists."""
        return _file(service, service.jobs.get(user, job), "result.gz", "application/gzip")

    @app.get(f"{address}/files", dependencies=_TOKEN, **_not_json("application/zip"))
    def files(job: JobName, user: User) -> FileResponse:
        """The result as a ZIP of the files that the job was asked for."""
        return _file(service, service.jobs.get(user, job), "files.zip", "application/zip")


def _file(service: Service, job: Job, name: str, kind: str) -> FileResponse:
    path = service.jobs.place(job) / name
    if job.state != "done" or not path.exists():
        why = "The job has not ended." if job.state in OPEN else "The job has no such result."
        raise ServiceError(404, "usage.no_result", why, "Look at its state.")
    return FileResponse(path, media_type=kind)


async def _events(service: Service, job: Job) -> AsyncIterator[bytes]:
    last, silent = "", 0.0
    while True:
        state = service.state(job)
        shown = state.model_dump_json()
        if shown != last:
            last, silent = shown, 0.0
            yield f"event: state\ndata: {shown}\n\n".encode()
        elif silent >= _BEAT_S:
            silent = 0.0
            yield b": alive\n\n"
        if state.state not in OPEN:
            return
        await asyncio.sleep(_LOOK_S)
        silent += _LOOK_S
