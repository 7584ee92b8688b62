"""The public end of this node's tunnels: the parts, and what they share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from drs_service.api.guard import Visitors
from drs_service.api.metrics.tally import Tally
from drs_service.db import changes
from drs_service.errors import BindRefused, DrsServiceError, HeadersTooLarge, TargetTimeout, TunnelAbsent
from drs_service.gateway.caller import Caller, claims
from drs_service.gateway.door import Door
from drs_service.gateway.exchange import Exchange
from drs_service.gateway.peers import Peers
from drs_service.gateway.ways import Holding, Ways
from drs_service.tunnel import heads
from drs_service.tunnel.frames import VERSION, End, Hello, Leaving, Left
from drs_service.tunnel.link import Link, Wire
from drs_service.usecases.tunnels import Activity, Fate, Held, Tunnels

log = structlog.get_logger()

BEAT = 3.0  # seconds between words to the database
TICK = 1.0  # seconds between looks at what takes too long
HANDOVER = 5.0  # seconds that agents get to dial another node, before this one ends
HANDOVER_LOOK = 0.1
MOST_KNOWN = 1000  # addresses and origins


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    answer_seconds: float
    """Until an app begins to answer."""
    idle_seconds: float
    """Without a byte either way, in what has begun."""
    grace_seconds: float
    """For an agent that has lost its connection to come back."""
    max_body: int | None
    """Bytes of a request."""


class Gateway:
    def __init__(self, tunnels: Tunnels, visitors: Visitors, tally: Tally, bounds: Bounds, *, public_url: str) -> None:
        self.callers: set[Caller] = set()
        self.doors: set[Door] = set()
        self.is_draining = False
        self.tally = tally
        self.max_body = bounds.max_body
        self.now = asyncio.get_running_loop().time
        self.soon = asyncio.get_running_loop().call_soon
        self.peers = Peers(tunnels, find=self._held_link)
        self.ways = Ways(tunnels, self.peers, grace=bounds.grace_seconds)
        self._tunnels = tunnels
        self._visitors = visitors
        self._bounds = bounds
        public = urlsplit(public_url)
        self._scheme, self._host, self._path = public.scheme, public.netloc, public.path.rstrip("/")
        self._public_origin = heads.origin_of(public_url)
        self._origins: dict[str, frozenset[bytes]] = {}
        self._told: dict[str, heads.Caller] = {}
        self._leaving: set[Link] = set()  # of sessions that are held elsewhere by now, with requests under way
        self._word_is_due = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # For uvicorn's connections.

    def claims(self, data: bytes) -> bool | None:
        return claims(data)

    def take(self, front: asyncio.Protocol, transport: asyncio.Transport, *, is_full: bool) -> Caller:
        """The connection is a caller's from now on. is_full: what was written to it has not been taken."""
        caller = Caller(self, front, transport)
        caller.is_full = is_full
        self.callers.add(caller)
        transport.set_protocol(caller)
        return caller

    # For callers and their exchanges.

    def dials_in(self, data: bytes) -> bool:
        return data.startswith(b"GET /tunnel")

    def dialled(self, transport: asyncio.Transport, front: asyncio.Protocol, data: bytes) -> None:
        """The connection is an agent's."""
        door = Door(self, front, transport)
        self.doors.add(door)
        transport.set_protocol(door)
        door.data_received(data)

    def prefix(self, session_id: str) -> bytes:
        return f"{self._path}/socket/{session_id}".encode("ascii")

    def _url(self, session_id: str) -> str:
        return f"{self._scheme}://{self._host}{self._path}/socket/{session_id}"

    def told(self, address: str) -> heads.Caller:
        found = self._told.get(address)
        if found is None:
            if len(self._told) > MOST_KNOWN:
                self._told.clear()
            found = self._told[address] = heads.Caller(address=address, scheme=self._scheme, host=self._host)
        return found

    def origins(self, target: str) -> frozenset[bytes]:
        """Under which an app may know itself, and so refer to itself."""
        found = self._origins.get(target)
        if found is None:
            if len(self._origins) > MOST_KNOWN:
                self._origins.clear()
            found = self._origins[target] = frozenset((self._public_origin, heads.origin_of(target)))
        return found

    def refusal(
        self, method: bytes, hosts: Sequence[bytes], origins: Sequence[bytes], *, upgrades: bool
    ) -> DrsServiceError | None:
        """Why a request is not meant for us, if so. A page of another origin could switch without being asked."""
        return self._visitors.refusal("POST" if upgrades else method.decode("ascii"), hosts, origins)

    def head_too_large(self) -> DrsServiceError:
        return HeadersTooLarge()

    def look_at(self, exchange: Exchange, now: float) -> None:
        """End it if it takes too long."""
        if exchange.has_moved:
            exchange.has_moved, exchange.moved_at = False, now
        elif exchange.waits:
            if now - exchange.moved_at > self._bounds.answer_seconds:
                exchange.fail(TargetTimeout())
        elif now - exchange.moved_at > self._bounds.idle_seconds:
            exchange.fail(TargetTimeout("Nothing has moved for too long."))

    # For doors.

    async def attached(self, credential: str, join_token: str | None) -> Held:
        """What an agent holds from now on, here. JoinRefused, SessionEnded, TunnelAbsent."""
        if self.is_draining:
            raise TunnelAbsent("This node is about to end. Another one is there, or will be soon.")
        return await self._tunnels.attach(self.peers.node_id, credential, join_token)

    def linked(self, held: Held, wire: Wire) -> Link:
        """The link of an agent that attached."""
        link = Link(
            wire,
            End.PUBLIC,
            Hello(version=VERSION, epoch=held.epoch, url=self._url(held.session_id)),
            on_greeted=lambda _: self.ways.moved(held.session_id),
            on_left=lambda left: self._left(held, link, left),
            on_lost=lambda reason: self._lost(held, link, reason),
        )
        before = self.ways.held.get(held.session_id)
        if before is not None and before.held.epoch > held.epoch:
            self._part(link, Leaving.SUPERSEDED)
            return link
        self.ways.held[held.session_id] = Holding(held, link)
        if before is not None:
            self._part(before.link, Leaving.SUPERSEDED)
        self.ways.forget(held.session_id)
        log.info("an agent has come", session=held.session_id, epoch=held.epoch)
        return link

    def never_came(self, held: Held) -> None:
        """The connection of an agent that attached ended before there was a link."""
        self._do(self._detach(held, left=False))

    def _left(self, held: Held, link: Link, left: Left) -> None:
        if left.code in {Leaving.LEFT, Leaving.FAILED}:
            log.info("an agent leaves", session=held.session_id, code=left.code, reason=left.reason)
            if left.code == Leaving.LEFT and self._gives_up(held, link):
                self._do(self._let_go(held, link))
            else:
                link.close()

    async def _let_go(self, held: Held, link: Link) -> None:
        """An agent whose connection is closed may rely on it that its session has ended."""
        await self._detach(held, left=True)
        link.close()

    def _lost(self, held: Held, link: Link, reason: str) -> None:
        self._leaving.discard(link)
        if self._gives_up(held, link):
            log.info("an agent is gone", session=held.session_id, reason=reason)
            self._do(self._detach(held, left=False))

    def _gives_up(self, held: Held, link: Link) -> bool:
        """Whether the link was what leads to the session. It is not any more."""
        holding = self.ways.held.get(held.session_id)
        if holding is None or holding.link is not link:
            return False
        del self.ways.held[held.session_id]
        self.ways.forget(held.session_id)
        return True

    async def _detach(self, held: Held, *, left: bool) -> None:
        try:
            await self._tunnels.detach(held, left=left)
        except DrsServiceError as error:  # then the lease ends by itself, or another node has it
            log.warning("a session was not let go of", session=held.session_id, error=str(error))

    def _part(self, link: Link, code: Leaving) -> None:
        """Let go of a link that leads to a session no more; from a node that ends, what is under way goes on."""
        link.go_away(code)
        if self.is_draining and not link.is_idle:
            self._leaving.add(link)
        else:
            link.close()
            link.lost("another connection has come")

    def _held_link(self, session_id: str) -> Link | None:
        holding = self.ways.held.get(session_id)
        return holding.link if holding is not None else None

    # What goes on all the time.

    async def beat(self) -> None:
        """Keep the database told that this node lives and what its sessions do, and do what is decided there."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._word_is_due.wait(), BEAT)
            self._word_is_due.clear()
            try:
                await self._say_word()
            except DrsServiceError as error:
                log.warning("the node's word did not reach the database", error=str(error))
            except Exception:
                log.exception("the node's word did not reach the database")

    async def _say_word(self) -> None:
        activities, moved = [], []
        for holding in self.ways.held.values():
            link = holding.link
            if link.moved:
                moved.append(link)
            activities.append(
                Activity(
                    session_id=holding.held.session_id,
                    epoch=holding.held.epoch,
                    active=link.moved or not link.is_idle,
                    running=link.running,
                )
            )
            link.moved = False
        self.tally.tunnels = len(activities)
        try:
            verdicts = await self._tunnels.beat(self.peers.node_id, activities)
        except DrsServiceError:
            for link in moved:
                link.moved = True  # that is still to be told
            raise
        for verdict in verdicts:
            found = self.ways.held.get(verdict.session_id)
            if found is None or found.held.epoch != verdict.epoch:
                continue
            if verdict.fate is Fate.STOPPING:
                found.link.go_away(Leaving.STOPPED, str(verdict.reason or ""))
            else:
                self._gives_up(found.held, found.link)
                is_fenced = verdict.fate is Fate.FENCED
                self._part(found.link, Leaving.SUPERSEDED if is_fenced else Leaving.STOPPED)

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(min(TICK, self._bounds.answer_seconds / 4))
            now = self.now()
            for caller in list(self.callers):
                caller.tick(now)
            for link in [link for link in self._leaving if link.is_idle]:
                link.close()

    def on_connect(self) -> None:
        self.ways.on_connect()

    def on_change(self, change: changes.Change) -> None:
        self.ways.on_change(change)
        if isinstance(change, changes.SessionChanged) and change.id in self.ways.held:
            self._word_is_due.set()

    def on_loss(self) -> None:
        self.ways.on_loss()

    async def hand_over(self) -> None:
        """Have agents dial another node, so that this one can end. Requests under way go on; then links are closed."""
        self.is_draining = True
        for holding in self.ways.held.values():
            holding.link.go_away(Leaving.DRAINING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER):
                while self.ways.held:
                    self._word_is_due.set()
                    await asyncio.sleep(HANDOVER_LOOK)
        self._leaving.update(holding.link for holding in self.ways.held.values())

    def close(self) -> None:
        for door in list(self.doors):
            door.abort()
        self.peers.close()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def open_gateway(
    tunnels: Tunnels,
    visitors: Visitors,
    tally: Tally,
    bounds: Bounds,
    *,
    public_url: str,
    host: str,
    port: int,
    address: str | None,
) -> AsyncIterator[Gateway]:
    """A gateway whose node is known to the others for the length of the block. BindRefused, DatabaseUnavailable.

    host, port: where other nodes reach it; address: what they call that, as host:port, if it is not the same.
    """
    gateway = Gateway(tunnels, visitors, tally, bounds, public_url=public_url)
    try:
        server = await gateway.peers.listen(host, port)
    except OSError as error:
        raise BindRefused(f"The node cannot listen for others on {host}:{port}: {error.strerror or error}") from error
    async with server:
        bound = server.sockets[0].getsockname()[1]
        gateway.peers.node_id = await tunnels.enlist(address or f"{host}:{bound}")
        tasks = [asyncio.create_task(gateway.beat()), asyncio.create_task(gateway.tick())]
        try:
            yield gateway
        finally:
            gateway.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                await tunnels.leave(gateway.peers.node_id)
            except Exception as error:  # it is found out soon that the node lives no longer
                log.warning("the node did not say that it ends", error=str(error))
