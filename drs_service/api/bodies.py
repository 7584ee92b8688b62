"""A request's body as it arrives, with the ways in which it may fail to."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from litestar import Request

from drs_service.errors import EncodingUnsupported, Rejected, UploadBusy, UploadInterrupted, UploadStalled
from drs_service.usecases.turns import Interruption

AnyRequest = Request[Any, Any, Any]

TAKEN = "Another request goes on with this upload."


async def body_of(
    request: AnyRequest, *, idle: float, interruption: Interruption | None = None
) -> AsyncGenerator[bytes, None]:
    """The pieces of the body, none of them empty. At most one is held at a time.

    UploadInterrupted if the client goes away first, UploadStalled if it sends nothing for idle seconds, UploadBusy if
    interruption is called.
    """
    interruption = interruption or Interruption()
    loop = asyncio.get_running_loop()
    more = True
    while more:
        if interruption.called:
            raise UploadBusy(TAKEN)  # waits for what is here already never end
        try:
            async with asyncio.timeout_at(loop.time() + idle) as timeout:
                with interruption.waiting(timeout):
                    message = await request.receive()
        except TimeoutError as error:
            if interruption.called:
                raise UploadBusy(TAKEN) from error
            raise UploadStalled(f"No bytes arrived for {idle:g} seconds.") from error
        if message["type"] == "http.disconnect":
            raise UploadInterrupted
        assert message["type"] == "http.request"
        more = message.get("more_body", False)
        if body := message.get("body", b""):
            if not interruption.come():
                raise UploadBusy(TAKEN)
            yield body
        del message, body  # a sender that pauses now holds nothing here


def content_length(request: AnyRequest) -> int | None:
    """The length the client states; None for a chunked body. The server has checked its form."""
    text = request.headers.get("content-length")
    return int(text) if text is not None and "transfer-encoding" not in request.headers else None


def has_body(request: AnyRequest) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def check_is(request: AnyRequest, media_type: str) -> None:
    """EncodingUnsupported unless the body is the plain bytes of this type."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise EncodingUnsupported(f"The bytes of an upload come as {media_type}.")
    check_whole(request)


def list_header(request: AnyRequest, name: str) -> str | None:
    """A header whose value is a list; it may come as several lines (RFC 9110 5.3)."""
    return ", ".join(request.headers.getall(name, [])) or None


def check_whole(request: AnyRequest) -> None:
    """EncodingUnsupported or Rejected if the body is not the plain whole of a file."""
    # The server takes `gzip, chunked` as well as `chunked`, and undoes only the latter.
    for name, plain in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
        coding = (list_header(request, name) or plain).strip().lower()
        if coding != plain:
            raise EncodingUnsupported(f"The {name} {coding!r} is not supported: send the bytes as they are.")
    if "content-range" in request.headers:
        # RFC 9110 14.5: a PUT with Content-Range, sent to a server that does not know partial PUT, would replace
        # the whole by a part.
        raise Rejected("An upload with Content-Range is not supported: send the whole file.")
