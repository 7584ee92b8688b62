"""Who waits for an agent, and what a node remembers of where it is."""

import asyncio
from collections.abc import Callable

import pytest

from drs_service.db.pool import Database
from drs_service.errors import DatabaseUnavailable
from drs_service.gateway.peers import Peers
from drs_service.gateway.ways import Holding, Ways
from drs_service.tunnel.frames import VERSION, End, Hello
from drs_service.tunnel.link import Link
from drs_service.usecases.sessions import Created
from drs_service.usecases.tunnels import Held, Tunnels, Whereabouts
from tests.support.deadline import PATIENCE, until
from tests.support.sessions import HOUR, created, new_credential, sessions_on
from tests.support.tunnels import HELLO
from tests.support.wires import Wire


class Watched(Tunnels):
    """Counts who asks where a session is, and does something before the answer is there."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lost=HOUR)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def find(self, session_id: str) -> Whereabouts | None:
        self.asked.append(session_id)
        found = await super().find(session_id)
        self.meanwhile()
        return found


class Node:
    """What a node knows of sessions, and sessions whose agents may come to it."""

    def __init__(self, database: Database) -> None:
        self.tunnels = Watched(database)
        peers = Peers(self.tunnels, find=lambda _: None)
        self.ways = Ways(self.tunnels, peers, grace=PATIENCE)
        self._sessions = sessions_on(database)
        self._peers = peers

    async def session(self) -> tuple[Created, str, Held]:
        """Whose agent has come, its credential, and its tunnel, of which nothing is known here."""
        self._peers.node_id = self._peers.node_id or await self.tunnels.enlist("127.0.0.1:9000")
        made, credential = await created(self._sessions), new_credential()
        return made, credential, await self.tunnels.attach(self._peers.node_id, credential, made.join_token)

    async def attach(self, credential: str) -> Held:
        return await self.tunnels.attach(self._peers.node_id, credential, None)

    def link(self, held: Held) -> Link:
        link = Link(Wire(), End.PUBLIC, Hello(version=VERSION), on_lost=lambda _: None)
        link.received(HELLO)
        self.ways.held[held.session_id] = Holding(held, link)
        return link

    async def found(self, made: Created) -> Link:
        now = asyncio.get_running_loop().time()
        return await self.ways.find(made.session.id, [made.secret.encode()], since=now)


async def test_who_waits_for_an_agent_hears_of_its_own_session_alone(database: Database) -> None:
    node = Node(database)
    (made, credential, held), (other, _, _) = await node.session(), await node.session()
    await node.tunnels.detach(held, left=False)
    asking = [asyncio.create_task(node.found(made)) for _ in range(3)]
    await until(lambda: len(node.tunnels.asked) == len(asking))
    for _ in range(100):
        node.ways.moved(other.session.id)
        await node.tunnels.find(other.session.id)  # as long as who is woken needs to look
    assert node.tunnels.asked.count(made.session.id) < 30
    link = node.link(await node.attach(credential))
    node.ways.moved(made.session.id)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*asking) == [link] * 3
    assert not node.ways._bells._waiting  # nothing is left of who waited
    link.lost("the end")


async def test_what_changes_while_it_is_looked_up_is_not_remembered_and_nothing_else_is_forgotten(
    database: Database,
) -> None:
    node = Node(database)
    (made, _, held), (other, _, _) = await node.session(), await node.session()
    link = node.link(held)
    secrets = [made.secret.encode()]
    node.tunnels.meanwhile = lambda: node.ways.moved(made.session.id)
    assert await node.found(made) is link
    assert node.ways.ready(made.session.id, secrets) is None
    node.tunnels.meanwhile = lambda: node.ways.moved(other.session.id)
    assert await node.found(made) is link
    assert node.ways.ready(made.session.id, secrets) is link
    node.ways.moved(made.session.id)
    assert node.ways.ready(made.session.id, secrets) is None
    link.lost("the end")


async def test_while_the_database_is_away_a_stranger_learns_nothing_and_who_was_let_in_stays(
    database: Database,
) -> None:
    node = Node(database)
    made, _, held = await node.session()
    link = node.link(held)
    assert await node.found(made) is link

    def away() -> None:
        raise DatabaseUnavailable

    node.tunnels.meanwhile = away
    assert await node.found(made) is link
    for session_id in (made.session.id, "0" * 16):
        with pytest.raises(DatabaseUnavailable):
            await node.ways.find(session_id, [b"another"], since=0)
