"""`/uploads`, `/uploads/{upload_id}`: how far uploads have come, for whoever watches. Asking disturbs nobody."""

from datetime import datetime
from typing import Literal

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest
from drs_service.api.drs.finding import DEFAULT_PAGE, PageSize, PageToken, checked_size
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.domain.uploads import Upload
from drs_service.usecases.resuming import Resuming
from drs_service.usecases.underway import Underway, UploadsUnderway

State = Literal["open", "arrived", "finishing", "complete", "failed"]


class Made(msgspec.Struct, kw_only=True):
    """The object that an upload became."""

    id: str
    self_uri: str


class Progress(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far an upload has come."""

    id: str
    name: str
    state: State
    """arrived: all bytes are here, and wait to be registered or joined, or to be made an object of.
    finishing: a worker verifies or joins them; the object has its id already, and answers 202 until then.
    """
    received: int
    """Bytes that are safe."""
    expires_at: datetime
    tus_url: str
    parts_url: str | UnsetType = UNSET
    """Tells where to bring the bytes past the service, if that can be."""
    size: int | UnsetType = UNSET
    """Bytes of the whole, once its sender knows."""
    object: Made | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    """Why nothing becomes of it."""


class Listed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An unfinished upload. Its id is the right to it, so only an owner who is identified is told that."""

    upload: str
    """Tells it from others: the beginning of the SHA-256 of its id."""
    name: str
    state: State
    received: int
    started_at: datetime
    expires_at: datetime
    size: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    tus_url: str | UnsetType = UNSET


class ListedUploads(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of unfinished uploads."""

    uploads: list[Listed]
    next_page_token: str | UnsetType = UNSET


def routes(resuming: Resuming, underway: UploadsUnderway, urls: PublicUrls, *, direct: bool) -> list[HTTPRouteHandler]:
    @route(
        "/uploads",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="List your unfinished uploads",
        description="In the order in which they were begun, page by page. While you are anonymous their URLs are left "
        "out, for whoever knows one may send to it and delete it.",
        responses={
            200: ResponseSpec(ListedUploads, description="A page of unfinished uploads."),
            400: ResponseSpec(Error, description="The page_size or the page_token is not one of this service."),
        },
    )
    async def get_uploads(
        request: AnyRequest, page_size: PageSize = DEFAULT_PAGE, page_token: PageToken = None
    ) -> ASGIApp:
        page = await underway.page(principal_of(request), size=checked_size(page_size), token=page_token)
        listing = ListedUploads(
            uploads=[listed(one, urls) for one in page.uploads], next_page_token=page.next_token or UNSET
        )
        return Json(listing, cache_control="no-store")

    @route(
        "/uploads/{upload_id:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Say how far an upload has come",
        responses={
            200: ResponseSpec(Progress, description="How far it has come."),
            404: ResponseSpec(Error, description="There is no such upload, or none any more."),
        },
    )
    async def get_upload(upload_id: FromPath[str]) -> ASGIApp:
        return Json(progress(await resuming.find(upload_id), urls, direct=direct), cache_control="no-store")

    return [get_uploads, get_upload]


def listed(one: Underway, urls: PublicUrls) -> Listed:
    upload = one.upload
    return Listed(
        upload=one.fingerprint,
        name=upload.name.original,
        state=state(upload),
        received=upload.received,
        size=upload.size if upload.size is not None else UNSET,
        started_at=one.started_at,
        expires_at=upload.expires_at,
        id=one.id if one.id is not None else UNSET,
        tus_url=urls.tus(one.id) if one.id is not None else UNSET,
    )


def progress(upload: Upload, urls: PublicUrls, *, direct: bool) -> Progress:
    becomes = upload.object_id or upload.promised_id
    return Progress(
        id=upload.id,
        name=upload.name.original,
        state=state(upload),
        received=upload.received,
        size=upload.size if upload.size is not None else UNSET,
        expires_at=upload.expires_at,
        tus_url=urls.tus(upload.id),
        parts_url=urls.parts(upload.id) if direct and may_go_past(upload) else UNSET,
        object=Made(id=becomes, self_uri=urls.drs(becomes)) if becomes is not None else UNSET,
        reason=upload.failed if upload.failed is not None else UNSET,
    )


def may_go_past(upload: Upload) -> bool:
    return not (upload.is_closed or upload.received) and upload.size is not None and upload.parts is None


def state(upload: Upload) -> State:
    if upload.object_id is not None:
        return "complete"
    if upload.failed is not None:
        return "failed"
    if upload.finishing:
        return "finishing"
    return "arrived" if upload.is_complete and upload.ends_by_size else "open"
