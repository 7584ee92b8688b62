"""`GET /jobs`: what workers do, have to do and have given up, for whoever watches."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from drs_service.api.answers import Json
from drs_service.api.drs.finding import DEFAULT_PAGE, PageSize, PageToken, checked_size
from drs_service.api.errors import Error
from drs_service.jobs.listing import Listed, State
from drs_service.usecases.jobs import Jobs

# The id of an upload is the right to it, and URLs may have secrets in them: of a payload no other field is told.
TOLD = ("digest", "object_id", "place", "source", "target", "before", "after")

Wanted = Annotated[State | None, QueryParameter(name="state", description="only jobs in this state")]
Kind = Annotated[str | None, QueryParameter(description="only jobs of this kind")]


class Done(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far a job has come."""

    done: int
    unit: str
    total: int | UnsetType = UNSET


class Job(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job as it stands."""

    id: int
    kind: str
    state: State
    about: dict[str, str]
    """What of its payload may be told to everybody."""
    attempts: int
    """That have ended."""
    created_at: datetime
    since: datetime
    """Since when it is in this state."""
    next_at: datetime | UnsetType = UNSET
    """When it is tried again."""
    worker: str | UnsetType = UNSET
    silent_seconds: float | UnsetType = UNSET
    """How long ago its worker last said that it has it."""
    progress: Done | UnsetType = UNSET
    error: str | UnsetType = UNSET
    """The code of the error with which the last attempt ended."""
    failed_at: datetime | UnsetType = UNSET


class ListedJobs(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of jobs."""

    jobs: list[Job]
    next_page_token: str | UnsetType = UNSET


def routes(jobs: Jobs) -> list[HTTPRouteHandler]:
    @route(
        "/jobs",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="List the jobs of the workers",
        description="What is queued, waits for its next attempt, runs, or was given up; in the order in which it was "
        "added, page by page. What is done is not listed.",
        responses={
            200: ResponseSpec(ListedJobs, description="A page of jobs."),
            400: ResponseSpec(Error, description="The page_size, the page_token or the state is not one of these."),
        },
    )
    async def get_jobs(
        in_state: Wanted = None, kind: Kind = None, page_size: PageSize = DEFAULT_PAGE, page_token: PageToken = None
    ) -> ASGIApp:
        # PostgreSQL's texts have no room for a NUL, and so no kind has one.
        of_kind = None if kind is None else kind.replace("\0", "�")
        page = await jobs.page(state=in_state, kind=of_kind, size=checked_size(page_size), token=page_token)
        listing = ListedJobs(jobs=[listed(one) for one in page.jobs], next_page_token=page.next_token or UNSET)
        return Json(listing, cache_control="no-store")

    return [get_jobs]


def listed(one: Listed) -> Job:
    job = Job(
        id=one.id,
        kind=one.kind,
        state=one.state,
        about=told(one.payload),
        attempts=one.attempts,
        created_at=one.created_at,
        since=one.since,
        next_at=one.next_at or UNSET,
        worker=one.worker or UNSET,
    )
    if one.silent is not None:
        job.silent_seconds = round(one.silent.total_seconds(), 1)
    if one.progress is not None:
        total = one.progress.total
        job.progress = Done(done=one.progress.done, unit=one.progress.unit, total=UNSET if total is None else total)
    if one.error is not None:
        job.error, job.failed_at = one.error.code, one.error.at
    return job


def told(payload: bytes) -> dict[str, str]:
    try:
        said = msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    return {name: str(said[name]) for name in TOLD if said.get(name)}
