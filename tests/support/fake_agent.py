"""An agent that says what it is told to: the tunnel's frames by hand, on a websocket that other people wrote."""

import asyncio
import secrets
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.deadline import PATIENCE
from tests.support.tunnel import Place, Session

HELLO, OPEN, HEAD, DATA, CREDIT, RESET, PING, GOAWAY = range(8)
END = 0x80
DRAINING, STOPPED, SUPERSEDED, FAILED, LEFT = range(5)  # of GOAWAY, in its stream
SUBPROTOCOL = Subprotocol("drs-tunnel.1")


class Frame(NamedTuple):
    kind: int
    stream: int
    value: int
    payload: bytes


def frame(kind: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """length: as it is said, if that is not what it is."""
    return struct.pack("!BII", kind, stream, len(payload) if length is None else length) + payload


def hello(**members: object) -> bytes:
    return frame(HELLO, 0, msgspec.msgpack.encode({"version": 1, **members}))


def head(stream: int, status: int, *headers: tuple[bytes, bytes], end: bool = False) -> bytes:
    return frame(HEAD | (END if end else 0), stream, msgspec.msgpack.encode((status, headers)))


def credentials(join_token: str | None, credential: str | None = None) -> dict[str, str]:
    """The fields with which an agent dials; it has a new credential unless one is said."""
    fields = {"Authorization": f"Bearer {credential or secrets.token_urlsafe(32)}"}
    return fields if join_token is None else {**fields, "Drs-Join-Token": join_token}


class FakeAgent:
    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._frames: deque[Frame] = deque()

    async def send(self, *frames: bytes) -> None:
        await self._websocket.send(b"".join(frames))

    async def say(self, text: str) -> None:
        """What is no message of a tunnel."""
        await self._websocket.send(text)

    async def frame(self, *kinds: int) -> Frame:
        """The next one of these kinds; others are skipped. ConnectionClosed."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._frames:
                    one = self._frames.popleft()
                    if one.kind & 0x0F in kinds:
                        return one
                self._split(await self._websocket.recv(decode=False))

    async def opened(self) -> int:
        """The stream of the next request."""
        return (await self.frame(OPEN)).stream

    async def told_to_leave(self) -> tuple[int, str]:
        """With which code the node says that the connection is to end, and why."""
        said = await self.frame(GOAWAY)
        return said.stream, said.payload.decode()

    async def closed(self) -> None:
        """Return once the node has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            await self._websocket.wait_closed()

    @property
    def close_code(self) -> int | None:
        return self._websocket.close_code

    def _split(self, message: bytes) -> None:
        """A node begins no frame in one message that it ends in another."""
        at = 0
        while at < len(message):
            kind, stream, value = struct.unpack_from("!BII", message, at)
            at += 9
            length = 0 if kind & 0x0F in (CREDIT, RESET, PING) else value
            self._frames.append(Frame(kind, stream, value, message[at : at + length]))
            at += length


@asynccontextmanager
async def joined(place: Place, session: Session, *, said: bytes | None = None) -> AsyncIterator[FakeAgent]:
    """The agent of a session, which has said HELLO, or what is said in its place."""
    async with connect(
        f"ws://{place.host}:{place.port}/tunnel",
        additional_headers=credentials(session.join_token),
        subprotocols=[SUBPROTOCOL],
        max_size=None,
        close_timeout=1,
    ) as websocket:
        agent = FakeAgent(websocket)
        await agent.send(hello() if said is None else said)
        yield agent
