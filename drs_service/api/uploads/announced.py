"""`PUT, POST /uploads/{upload_id}`: bytes that were announced by `POST /ga4gh/drs/v1/upload-request`."""

from contextlib import aclosing

from litestar import post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest, body_of, check_whole, content_length, list_header
from drs_service.api.drs import shapes
from drs_service.api.errors import Error
from drs_service.api.public import PublicUrls
from drs_service.api.uploads.form import Form, the_only
from drs_service.api.uploads.routes import FILE, FORM, REFUSALS
from drs_service.domain.digest_fields import parse_repr_digest, parse_want_repr_digest
from drs_service.domain.uploads import Upload
from drs_service.usecases.announcing import Announcing
from drs_service.usecases.uploads import Arriving

ANSWERS = {
    200: ResponseSpec(shapes.UploadResponseObject, description="The bytes are here; register the access_url."),
    404: ResponseSpec(Error, description="There is no such upload, or none any more."),
    409: ResponseSpec(Error, description="Other bytes have come already."),
    **REFUSALS,
}


def routes(announcing: Announcing, urls: PublicUrls, *, idle: float, max_fields: int) -> list[HTTPRouteHandler]:
    @put(
        "/uploads/{upload_id:str}",
        status_code=200,
        request_max_body_size=None,
        summary="Send announced bytes",
        description="The body is the file. It is held to what was announced, and may be sent again.",
        responses=ANSWERS,
        operation_class=FILE,
    )
    async def put_announced(upload_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        check_whole(request)
        arriving = Arriving(
            source=body_of(request, idle=idle),
            digest=parse_repr_digest(list_header(request, "repr-digest")),
            algorithms=parse_want_repr_digest(list_header(request, "want-repr-digest")),
            length=content_length(request),
        )
        return accepted(await announcing.receive(upload_id, arriving))

    @post(
        "/uploads/{upload_id:str}",
        status_code=200,
        request_max_body_size=None,
        summary="Send announced bytes as a form",
        description="multipart/form-data with one file. It is held to what was announced, and may be sent again.",
        responses=ANSWERS,
        operation_class=FORM,
    )
    async def post_announced(upload_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        check_whole(request)
        form = Form(request.headers.get("content-type", ""), body_of(request, idle=idle), max_parts=max_fields)
        async with aclosing(form.files()) as files:
            return accepted(await announcing.receive(upload_id, await the_only(files)))

    def accepted(upload: Upload) -> ASGIApp:
        return Json(shapes.upload_response(upload, urls), cache_control="no-store")

    return [put_announced, post_announced]
