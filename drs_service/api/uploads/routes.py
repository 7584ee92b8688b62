"""`PUT /upload/{name}`, the body of one file, and `POST /upload`, a form of many."""

from typing import Annotated
from urllib.parse import unquote

import msgspec
from litestar import post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse

from drs_service.api.bodies import AnyRequest, body_of, check_whole, content_length, list_header
from drs_service.api.document import header, operation
from drs_service.api.drs import shapes
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.api.uploads.form import Form
from drs_service.domain.digest_fields import parse_repr_digest, parse_want_repr_digest
from drs_service.domain.media_types import media_type
from drs_service.domain.names import FileName, file_name
from drs_service.errors import FormInvalid, NameInvalid
from drs_service.usecases.uploads import Incoming, Uploads

PREFIX = "/upload/"
FILE = operation(
    headers=[
        header("Repr-Digest", "sha-256=:…: (RFC 9530) of the file; it is verified."),
        header("Want-Repr-Digest", "md5=1, sha-512=1, … (RFC 9530): checksums that the answer shall tell."),
    ],
    media_type="application/octet-stream",
    body=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
)
FORM = operation(
    media_type="multipart/form-data",
    body=Schema(
        type=OpenAPIType.OBJECT,
        properties={"file": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)},
        required=["file"],
    ),
)
REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands; nothing was stored."),
    408: ResponseSpec(Error, description="No bytes arrived for too long; nothing was stored."),
    413: ResponseSpec(Error, description="A file is larger than this service accepts; nothing was stored."),
    415: ResponseSpec(Error, description="The body has a coding, which cannot be undone here; nothing was stored."),
    429: ResponseSpec(Error, description="Too many uploads at once, or of this owner; nothing was stored."),
    507: ResponseSpec(Error, description="The storage is full, or its owner holds enough; nothing was stored."),
}


def routes(uploads: Uploads, urls: PublicUrls, *, idle: float, max_files: int) -> list[HTTPRouteHandler]:
    @put(
        PREFIX + "{name:path}",
        status_code=201,
        request_max_body_size=None,
        summary="Upload a file",
        description="The body is the file. A `Repr-Digest: sha-256=:…:` (RFC 9530) is verified.",
        responses={201: ResponseSpec(shapes.DrsObject, description="The object that was made."), **REFUSALS},
        operation_class=FILE,
    )
    async def put_file(
        request: AnyRequest, name: Annotated[str, PathParameter(description="the file's name")]
    ) -> ASGIResponse:
        check_whole(request)
        named = name_in(request.scope["raw_path"])
        stored = await uploads.put(
            principal_of(request),
            Incoming(
                name=named,
                media_type=media_type(request.headers.get("content-type"), name=named.original),
                digest=parse_repr_digest(list_header(request, "repr-digest")),
                algorithms=parse_want_repr_digest(list_header(request, "want-repr-digest")),
                length=content_length(request),
                source=body_of(request, idle=idle),
            ),
        )
        return created(shapes.shape(stored, urls), location=urls.object(stored.id))

    @post(
        "/upload",
        status_code=201,
        request_max_body_size=None,
        summary="Upload the files of a form",
        description="multipart/form-data with any number of files: all of them are stored, or none.",
        responses={201: ResponseSpec(shapes.DrsObjects, description="The objects that were made."), **REFUSALS},
        operation_class=FORM,
    )
    async def post_form(request: AnyRequest) -> ASGIResponse:
        check_whole(request)
        form = Form(request.headers.get("content-type", ""), body_of(request, idle=idle), max_parts=max_files)
        stored = await uploads.put_all(principal_of(request), form.files())
        if not stored:
            raise FormInvalid("The form has no file: at least one field needs a filename.")
        location = urls.object(stored[0].id) if len(stored) == 1 else None
        return created(shapes.DrsObjects(objects=[shapes.shape(one, urls) for one in stored]), location=location)

    return [put_file, post_form]


def name_in(path: bytes) -> FileName:
    """The file's name. The framework's path has lost doubled and trailing slashes, and what was not UTF-8."""
    try:
        text = unquote(path.decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise NameInvalid("The file name is not UTF-8.") from error
    return file_name(text.removeprefix(PREFIX))


def created(content: shapes.DrsObject | shapes.DrsObjects, *, location: str | None) -> ASGIResponse:
    headers = {"cache-control": "no-store"}
    if location is not None:
        headers["location"] = location
    return ASGIResponse(
        body=msgspec.json.encode(content), status_code=201, media_type="application/json", headers=headers
    )
