"""Many requests for one session, beside those of others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from drs_service.app import Web, open_app
from drs_service.settings import Settings
from drs_service.tunnel.frames import MAX_STREAMS, Buffer, Code, Headers
from tests.support.fake_agent import FakeAgent, head, joined
from tests.support.raw_http import Answer, asked, request
from tests.support.server import Service, running
from tests.support.tunnel import Place, Session


class Patient:
    """A party of a stream that nobody answers."""

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None: ...
    def on_data(self, data: Buffer, *, ended: bool) -> None: ...
    def on_trailers(self, headers: Headers) -> None: ...
    def on_reset(self, code: int) -> None: ...
    def on_drained(self) -> None: ...


async def driven(session: Session, agent: FakeAgent, service: Service) -> Answer:
    """The answer to a request that the agent answers if it comes so far."""
    asking = asyncio.create_task(asked(service, request("GET", f"{session.path}/", session.bearer)))
    arriving = asyncio.create_task(agent.opened())
    await asyncio.wait((asking, arriving), return_when=asyncio.FIRST_COMPLETED)
    if arriving.done():
        await agent.send(head(arriving.result(), 204, end=True))
    arriving.cancel()
    return await asking


async def test_a_session_leaves_others_room_between_two_nodes(settings: Settings) -> None:
    webs: list[Web] = []

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Web]:
        async with open_app(settings) as web:
            webs.append(web)
            yield web

    async with AsyncExitStack() as stack:
        settings = replace(settings, public_url=None)
        holder, other = [await stack.enter_async_context(running(settings, opened)) for _ in range(2)]
        greedy, modest = [await asyncio.to_thread(Session.created, holder.url) for _ in range(2)]
        place = Place(holder.port)
        many, few = [await stack.enter_async_context(joined(place, one)) for one in (greedy, modest)]
        assert (await driven(greedy, many, other)).status == 204
        link = webs[1].gateway.peers.linked(webs[0].gateway.peers.node_id)
        assert link is not None
        streams = [link.open(Patient(), b"GET", b"/", [], session=greedy.id) for _ in range(MAX_STREAMS // 2)]
        for _ in streams:
            await many.opened()
        refused = await driven(greedy, many, other)
        assert (refused.status, refused.json()["code"]) == (429, "too_many_streams")
        # Others, and the node that holds its tunnel, have room for more.
        assert (await driven(modest, few, other)).status == 204
        assert (await driven(greedy, many, holder)).status == 204
        link.reset(streams[0], Code.CANCELLED)
        assert (await driven(greedy, many, other)).status == 204
