"""`/data/{object_id}` of a bundle: an archive of all its files, zip or tar, as the client would rather have it."""

from typing import Annotated

from litestar.enums import HttpMethod
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from drs_service.api.bodies import AnyRequest, list_header
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.streaming import Bytes, Headers
from drs_service.domain.accept import preferred
from drs_service.domain.archives.archive import Archive
from drs_service.domain.conditions import Verdict, evaluate
from drs_service.domain.names import MAX_CHARACTERS, FileName, content_disposition
from drs_service.domain.objects import DrsObject
from drs_service.errors import NotAcceptable, Rejected
from drs_service.usecases.archives import FORMATS, Archives, Plan

Format = Annotated[
    str | None, QueryParameter(description="`zip` or `tar`, of a bundle; else Accept decides. Ignored for blobs.")
]
ARCHIVE_REFUSALS = {
    406: ResponseSpec(Error, description="The object is a bundle, and Accept takes neither a zip nor a tar archive."),
    409: ResponseSpec(
        Error,
        description="The object is a bundle, and not all of its files are here; or bytes lie in an archive, and "
        "reading does not bring them back.",
    ),
}


class ArchiveAnswers:
    def __init__(self, archives: Archives) -> None:
        self._archives = archives

    async def answer(self, request: AnyRequest, bundle: DrsObject, name: str | None) -> ASGIApp:
        """The archive, begun, so that what is known not to be possible is still an error answer. Range is ignored.

        Rejected, NotAcceptable, ArchiveImpossible, PreconditionFailed, and what `Downloads.ready` and
        `Downloads.open` raise.
        """
        plan = await self._archives.plan(principal_of(request), bundle, format_of(name, list_header(request, "accept")))
        headers = headers_of(bundle, plan)
        if_match, if_none_match = (list_header(request, one) for one in ("if-match", "if-none-match"))
        verdict = evaluate(headers["etag"], if_match=if_match, if_none_match=if_none_match)
        if verdict is Verdict.NOT_MODIFIED:
            # RFC 9110 15.4.5: what a cache needs, and nothing of the content.
            return Bytes(304, {one: headers[one] for one in ("cache-control", "etag", "vary")})
        is_head = request.method == HttpMethod.HEAD
        await self._archives.ready(plan, begin=not is_head)
        if is_head:
            return Bytes(200, headers)
        return Bytes(200, headers, await self._archives.open(plan))


def format_of(name: str | None, accept: str | None) -> type[Archive]:
    """The format that the client names, or else the one that it accepts. Rejected, NotAcceptable."""
    if name is not None:
        form = FORMATS.get(name.lower())
        if form is None:
            raise Rejected(f"The format of an archive is {' or '.join(FORMATS)}.")
        return form
    by_media_type = {form.media_type: form for form in FORMATS.values()}
    chosen = preferred(accept, list(by_media_type))
    if chosen is None:
        raise NotAcceptable
    return by_media_type[chosen]


def headers_of(bundle: DrsObject, plan: Plan) -> Headers:
    return {
        # What has not been made yet cannot be begun in the middle.
        "accept-ranges": "none",
        # The bytes stay the same for as long as there are any: whether all files are still there has to be asked.
        "cache-control": "private, no-cache",
        "content-disposition": content_disposition(named(bundle, plan.form.suffix)),
        "content-length": str(plan.length),
        "content-security-policy": "default-src 'none'; sandbox",
        "content-type": plan.form.media_type,
        "etag": f'"{plan.tag}"',
        "vary": "accept",
        "x-content-type-options": "nosniff",
    }


def named(bundle: DrsObject, suffix: str) -> FileName:
    """The name of a bundle's archive."""
    room = MAX_CHARACTERS - len(suffix)
    return FileName(bundle.file_name[:room] + suffix, bundle.name[:room] + suffix)
