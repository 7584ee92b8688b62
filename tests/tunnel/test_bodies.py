"""Bodies stream both ways through a tunnel, as fast as they are taken and no faster."""

import asyncio
import zlib

import pytest

from tests.support.deadline import at_rest
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.stage import OK, Stage, Visit
from tests.support.tunnel import Cluster, Place, Session

MIB = 1024**2
LARGE = 100 * MIB
PIECE = bytes(range(256)) * (MIB // 256)
ENDLESS = 4096 * MIB  # bytes that an app or a client has to send, and is stopped long before
MOST_MORE = 100 * MIB  # bytes of memory


@pytest.fixture
def other(cluster: Cluster, session: Session) -> Place:
    """The node that does not hold the tunnel."""
    return cluster.places[1]


def whole() -> int:
    """The checksum of LARGE."""
    found = 0
    for _ in range(LARGE // MIB):
        found = zlib.crc32(PIECE, found)
    return found


async def test_100_mb_go_in_through_the_other_node(app: Stage, other: Place, session: Session) -> None:
    found = left = 0

    async def act(visit: Visit) -> None:
        nonlocal found, left
        left = int((await visit.head()).all("content-length")[0])
        while left:
            data = await visit.reader.read(min(left, MIB))
            found, left = zlib.crc32(data, found), left - len(data)
        await visit.say(OK)

    app.act = act
    async with connected(other) as connection:
        await connection.send(request("PUT", f"{session.path}/", session.bearer, f"Content-Length: {LARGE}"))
        for _ in range(LARGE // MIB):
            await connection.send(PIECE)
        assert (await connection.answer()).status == 200
    assert found == whole()


async def test_100_mb_come_out_through_the_other_node(app: Stage, other: Place, session: Session) -> None:
    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // MIB):
            await visit.say(PIECE)

    app.act = act
    async with connected(other) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        left = int((await connection.head()).headers["content-length"])
        found = 0
        while left:
            data = await connection.some(min(left, MIB))
            found, left = zlib.crc32(data, found), left - len(data)
    assert found == whole()


async def test_events_arrive_one_by_one(app: Stage, cluster: Cluster, session: Session) -> None:
    """Through the proxy: the next one is only made when the last one has been seen."""
    seen = asyncio.Semaphore(0)

    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            await visit.say(chunk(b"data: %d\n\n" % number))
            await seen.acquire()
        await visit.say(chunk(b""))

    app.act = act
    async with connected(Place(int(cluster.url.rpartition(":")[2]))) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        assert (await connection.head()).headers["content-type"] == "text/event-stream"
        for number in range(20):
            assert await connection.chunk() == b"data: %d\n\n" % number
            seen.release()
        assert await connection.chunk() == b""


async def test_a_request_and_its_answer_stream_at_the_same_time(app: Stage, node: Place, session: Session) -> None:
    async def act(visit: Visit) -> None:
        await visit.head()
        await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await visit.reader.readline(), 16):
            await visit.say(chunk((await visit.reader.readexactly(size + 2))[:-2]))
        await visit.say(chunk(b""))

    app.act = act
    async with connected(node) as connection:
        await connection.send(request("POST", f"{session.path}/", session.bearer, "Transfer-Encoding: chunked"))
        await connection.head()
        for word in (b"one", b"two", b"three"):
            await connection.send(chunk(word))
            assert await connection.chunk() == word
        await connection.send(chunk(b""))
        assert await connection.chunk() == b""


@pytest.mark.parametrize("keeps", [b"Connection: close\r\n", b""], ids=["closes", "keeps"])
async def test_an_app_may_answer_before_it_has_read_the_body(
    keeps: bytes, app: Stage, node: Place, session: Session
) -> None:
    """The caller hears so at once, may send the rest for nothing, and ask again on the same connection."""
    size = 3 * MIB

    async def act(visit: Visit) -> None:
        if (await visit.head()).method == b"POST":
            await visit.say(b"HTTP/1.1 403 Forbidden\r\n" + keeps + b"Content-Length: 2\r\n\r\nno")
        else:
            await visit.say(OK)

    app.act = act
    async with connected(node) as connection:
        await connection.send(request("POST", f"{session.path}/", session.bearer, f"Content-Length: {size}"))
        answer = await connection.answer()
        assert (answer.status, answer.body) == (403, b"no")
        await connection.send(bytes(size))
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        assert (await connection.answer()).body == b"ok"


@pytest.mark.parametrize("during", ["waiting", "upload", "download"])
async def test_an_app_hears_that_a_client_has_left(during: str, app: Stage, node: Place, session: Session) -> None:
    there, gone = asyncio.Event(), asyncio.Event()

    async def act(visit: Visit) -> None:
        await visit.head()
        if during == "download":
            await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        there.set()
        await visit.gone()
        gone.set()

    app.act = act
    lines = ["Content-Length: 100"] if during == "upload" else []
    async with connected(node) as connection:
        await connection.send(request("POST", f"{session.path}/", session.bearer, *lines))
        async with asyncio.timeout(5):
            await there.wait()
            if during == "download":
                await connection.head()
            connection.hang_up()
            await gone.wait()


async def test_a_slow_reader_holds_up_nobody_but_its_app(
    app: Stage, other: Place, session: Session, cluster: Cluster
) -> None:
    """Of an answer without an end, which nobody reads for a while, little is kept; and others go on beside it."""
    sent = 0

    async def act(visit: Visit) -> None:
        nonlocal sent
        if (await visit.request()).target == b"/fast":
            await visit.say(OK)
            return
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ENDLESS)
        while True:
            await visit.say(PIECE)
            sent += MIB

    app.act = act
    before = cluster.memory(session)
    async with connected(other) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        await connection.head()
        for read in (0, 100 * MIB, 1 * MIB):
            for _ in range(read // MIB):
                await connection.read(MIB)
            await at_rest(lambda: sent)
            assert (await asked(other, request("GET", f"{session.path}/fast", session.bearer))).body == b"ok"
            assert cluster.memory(session) - before < MOST_MORE
        assert sent < 200 * MIB


async def test_a_slow_app_holds_up_nobody_but_its_client(
    app: Stage, other: Place, session: Session, cluster: Cluster
) -> None:
    taken, more = 0, asyncio.Semaphore(0)

    async def act(visit: Visit) -> None:
        nonlocal taken
        if (await visit.head()).target == b"/fast":
            await visit.say(OK)
            return
        while await more.acquire():
            await visit.reader.readexactly(MIB)
            taken += MIB

    app.act = act
    sent = 0
    before = cluster.memory(session)
    async with connected(other) as connection:

        async def sending() -> None:
            nonlocal sent
            await connection.send(request("PUT", f"{session.path}/", session.bearer, f"Content-Length: {ENDLESS}"))
            while True:
                await connection.send(PIECE, within=None)
                sent += MIB

        sender = asyncio.create_task(sending())
        for take in (0, 100, 1):
            for _ in range(take):
                more.release()
            await at_rest(lambda: sent)
            assert (await asked(other, request("GET", f"{session.path}/fast", session.bearer))).body == b"ok"
            assert cluster.memory(session) - before < MOST_MORE
        assert taken == 101 * MIB and sent < 200 * MIB
        sender.cancel()


async def test_a_thousand_requests_are_under_way_at_once(app: Stage, cluster: Cluster, session: Session) -> None:
    """All of them have come before any is answered."""
    all_there, count = asyncio.Event(), 0

    async def act(visit: Visit) -> None:
        nonlocal count
        heard = await visit.request()
        count += 1
        if count == 1000:
            all_there.set()
        await all_there.wait()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(heard.target), heard.target))

    app.act = act

    async def one(number: int) -> None:
        answer = await asked(cluster.places[number % 2], request("GET", f"{session.path}/{number}", session.bearer))
        assert answer.body == b"/%d" % number

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(one(number))
