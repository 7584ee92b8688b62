"""How a node reaches a tunnel that another one holds: one connection between the two, with the tunnel's own frames.

    asking node                                     the node that holds the tunnel
        │  TOKEN\\n        of a row that it has made         │
        │ ────────────────────────────────────────────────▶ │  takes that row out of the database
        │  ANSWER\\n       which that row has                │
        │ ◀──────────────────────────────────────────────── │
        │  frames: streams with the session that each is of │

Either has shown that it is at home in the same database; nothing secret is left of it afterwards.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

import structlog

from drs_service.errors import DrsServiceError, PeerUnreachable
from drs_service.tunnel.frames import VERSION, Buffer, Code, End, Headers, Hello, Opened
from drs_service.tunnel.link import Link, Party
from drs_service.tunnel.shares import Shares
from drs_service.usecases.tunnels import Tunnels

log = structlog.get_logger()

PATIENCE = 5.0  # seconds for a connection to be made and for each to say who it is
MAX_LINE = 200  # bytes


class Cable(asyncio.Protocol):
    """A plain connection: a line first, and then a link's wire."""

    def __init__(self, on_connected: Callable[["Cable"], None] | None = None) -> None:
        self.is_writable = True
        self.link: Link | None = None
        self.line: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._on_connected = on_connected
        self._early = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none in name
        if self._on_connected is not None:
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        if self.link is not None:
            self.link.received(data)
            return
        self._early += data
        line, newline, rest = self._early.partition(b"\n")
        if newline and not self.line.done():
            self.line.set_result(line)
            self._early = rest
            self._transport.pause_reading()  # until there is a link
        elif len(self._early) > MAX_LINE:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.line.done():
            self.line.set_exception(PeerUnreachable())
            self.line.exception()  # it may be that nobody asks any more
        if self.link is not None:
            self.link.lost("the connection ended")

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self.link is not None:
            self.link.flush()

    def say(self, line: str) -> None:
        self._transport.write(line.encode("ascii") + b"\n")

    def carry(self, link: Link) -> None:
        self.link = link
        if self._transport.is_closing():  # by now: nobody says so any more
            asyncio.get_running_loop().call_soon(link.lost, "the connection ended")
            return
        early, self._early = self._early, b""
        if early:
            link.received(early)
        self._transport.resume_reading()

    def write(self, message: list[Buffer]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(message)

    def close(self) -> None:
        self._transport.close()


class Peers:
    """Links to other nodes, and from them."""

    def __init__(self, tunnels: Tunnels, *, find: Callable[[str], Link | None]) -> None:
        """find: the link of a session that this node holds."""
        self.node_id = ""
        self._tunnels = tunnels
        self._find = find
        self._links: dict[str, Link] = {}
        self._calls: dict[str, asyncio.Task[Link]] = {}
        self._cables: set[Cable] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def linked(self, node_id: str) -> Link | None:
        return self._links.get(node_id)

    async def call(self, node_id: str, address: str) -> Link:
        """A link to another node, which listens at address. PeerUnreachable, DatabaseUnavailable."""
        if link := self._links.get(node_id):
            return link
        if (calling := self._calls.get(node_id)) is None:
            calling = self._calls[node_id] = asyncio.create_task(self._call(node_id, address))
            calling.add_done_callback(lambda _: self._calls.pop(node_id, None))
        return await asyncio.shield(calling)

    async def _call(self, node_id: str, address: str) -> Link:
        host, _, port = address.rpartition(":")
        call = await self._tunnels.call(self.node_id, node_id)
        cable: Cable | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                _, cable = await asyncio.get_running_loop().create_connection(Cable, host.strip("[]"), int(port))
                cable.say(call.token)
                said = await cable.line
            if not secrets.compare_digest(said, call.answer.encode("ascii")):
                raise PeerUnreachable("Another program is where a node of the service should be.")
        except (OSError, PeerUnreachable) as error:  # TimeoutError is an OSError
            if cable is not None:
                cable.close()
            raise PeerUnreachable(node=node_id, address=address, reason=str(error)) from error
        greeted = asyncio.get_running_loop().create_future()
        link = Link(
            cable,
            End.PUBLIC,
            Hello(version=VERSION),
            on_greeted=lambda _: None if greeted.done() else greeted.set_result(None),
            on_lost=lambda _: self._lost(node_id, link),
            shares=Shares(),
        )
        cable.carry(link)
        try:
            await asyncio.wait_for(greeted, PATIENCE)
        except TimeoutError as error:
            link.close()
            raise PeerUnreachable(node=node_id, address=address, reason="it does not greet") from error
        if link.is_lost:  # as soon as it had greeted
            raise PeerUnreachable(node=node_id, address=address, reason="the connection ended")
        self._links[node_id] = link
        return link

    def _lost(self, node_id: str, link: Link) -> None:
        if self._links.get(node_id) is link:
            del self._links[node_id]

    # The other way round.

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Be there for other nodes."""
        return await asyncio.get_running_loop().create_server(lambda: Cable(self._called), host, port)

    def _called(self, cable: Cable) -> None:
        task = asyncio.create_task(self._answer(cable))
        self._tasks.add(task)
        self._cables.add(cable)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, cable: Cable) -> None:
        try:
            token = (await asyncio.wait_for(cable.line, PATIENCE)).decode("ascii", "replace")
            answer = await self._tunnels.answer(self.node_id, token)
        except (TimeoutError, DrsServiceError) as error:
            log.warning("a node was not answered", error=str(error))
            answer = None
        if answer is None:
            self._cables.discard(cable)
            cable.close()
            return
        cable.say(answer)
        link = Link(
            cable,
            End.AGENT,
            Hello(version=VERSION),
            on_open=self._splice,
            on_lost=lambda _: self._cables.discard(cable),
        )
        cable.carry(link)

    def _splice(self, asking: Link, opened: Opened) -> Party:
        half = Half(asking, opened.stream)
        link = self._find(opened.session)
        if link is None or not link.has_room(opened.session):
            asking.reset(opened.stream, Code.CROWDED if link is not None and link.is_up else Code.REFUSED)
            return half
        other = Half(link, 0)
        half.other, other.other = other, half
        # Not too long: it has come in one piece of the same size.
        other.stream = link.open(
            other,
            opened.method,
            opened.target,
            opened.headers,
            protocol=opened.protocol,
            session=opened.session,
            end=opened.ended,
        )
        return half

    def close(self) -> None:
        for cable in self._cables:
            cable.close()
        for link in list(self._links.values()):
            link.close()


class Half:
    """A stream whose other half is on another link: what comes on one goes out on the other, as fast as can be."""

    __slots__ = ("_link", "_owed", "other", "stream")

    def __init__(self, link: Link, stream: int) -> None:
        self.stream = stream
        self.other: Half
        self._link = link
        self._owed = 0  # bytes that came, and are not consumed for the other half is full

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None:
        self.other._link.head(self.other.stream, status, headers, end=ended)

    def on_data(self, data: Buffer, *, ended: bool) -> None:
        link, stream = self.other._link, self.other.stream
        link.data(stream, data, end=ended)
        if link.is_full(stream):
            self._owed += len(data)
        else:
            self._link.consumed(self.stream, len(data))

    def on_trailers(self, headers: Headers) -> None:
        self.other._link.trailers(self.other.stream, headers)

    def on_reset(self, code: int) -> None:
        self.other._link.reset(self.other.stream, code)

    def on_drained(self) -> None:
        owed, self.other._owed = self.other._owed, 0
        self.other._link.consumed(self.other.stream, owed)
