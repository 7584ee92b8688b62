"""`GET /sessions/{session_id}/events`: Server-Sent Events (WHATWG HTML 9.2), one for each change of a session."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from drs_service.api.bearer import SECURITY, bearer_of
from drs_service.api.bodies import AnyRequest
from drs_service.api.document import header, operation
from drs_service.api.public import PublicUrls
from drs_service.api.server import leaving
from drs_service.api.sessions.routes import NOT_YOURS
from drs_service.api.sessions.shapes import shown
from drs_service.api.streaming import Bytes
from drs_service.domain.sessions import Session
from drs_service.usecases.sessions import Sessions

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would keep events until there are enough of them
}
RETRY = 2000  # milliseconds after which a client that lost the connection comes back
KEEP_ALIVE = b": nothing new\n\n"
LAST_EVENT_ID = header("Last-Event-ID", "The id of the last event that the client has: only what is newer is sent.")


class StateEvent(msgspec.Struct, kw_only=True):
    """What is sent at once, and whenever the session has changed. A field `retry` may go before the first."""

    id: str
    event: Literal["state"]
    data: str
    """The session in JSON, in one line."""


Steps = AsyncGenerator[Session | None, None]


def routes(sessions: Sessions, urls: PublicUrls) -> list[HTTPRouteHandler]:
    @get(
        "/sessions/{session_id:str}/events",
        media_type="text/event-stream",
        summary="Watch a session",
        description="Events named `state`, each with the JSON of the session: the first one at once, another one "
        "whenever its state or its tunnel has changed. The answer ends when the session has ended.",
        security=SECURITY,
        operation_class=operation(headers=[LAST_EVENT_ID]),
        responses={
            200: ResponseSpec(StateEvent, media_type="text/event-stream", description="The events."),
            **NOT_YOURS,
        },
    )
    async def get_events(request: AnyRequest, session_id: FromPath[str]) -> ASGIApp:
        secret = bearer_of(request)
        await sessions.show(session_id, secret)  # whose it is not is told so before the answer begins
        steps = sessions.watch(session_id, secret, seen=request.headers.get("last-event-id"))
        return Bytes(200, HEADERS, events(steps, urls, leaving(request)))

    return [get_events]


async def events(steps: Steps, urls: PublicUrls, until: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """The steps as events, until the node leaves: the client comes back then, to whichever there is."""
    yield b"retry: %d\n\n" % RETRY
    stop = asyncio.create_task(until.wait())
    try:
        async with aclosing(steps):
            while True:
                following = asyncio.ensure_future(anext(steps, steps))
                await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.wait({following})
                    return
                if (step := following.result()) is steps:
                    return
                assert not isinstance(step, AsyncGenerator)
                yield event(step, urls) if step is not None else KEEP_ALIVE
    finally:
        stop.cancel()


def event(session: Session, urls: PublicUrls) -> bytes:
    # Of its JSON no line can end before the end, for JSON has none inside of texts.
    return b"id: %s\nevent: state\ndata: %s\n\n" % (
        session.version.encode("ascii"),
        msgspec.json.encode(shown(session, urls)),
    )
