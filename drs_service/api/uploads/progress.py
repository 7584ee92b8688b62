"""`/uploads/{upload_id}`: how far an upload has come, for whoever watches it. Asking disturbs nobody who is sending."""

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
from drs_service.api.errors import Error
from drs_service.api.public import PublicUrls
from drs_service.domain.uploads import Upload
from drs_service.usecases.resuming import Resuming

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


def routes(resuming: Resuming, urls: PublicUrls, *, direct: bool) -> list[HTTPRouteHandler]:
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

    return [get_upload]


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
    return "arrived" if upload.is_complete else "open"
