"""An app of which a test says, byte for byte, what it does."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.deadline import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Heard:
    """A request, as it came."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ", 1)[1].rpartition(b" ")[0]

    def all(self, name: str) -> list[str]:
        """The values of a field, in their order."""
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == name.lower().encode()]


class Visit:
    """One connection to the app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.is_over = False
        """What the app does has come to its end."""

    async def head(self) -> Heard:
        """Of a request whose body is not read. IncompleteReadError."""
        line, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        return Heard(line, [parsed(one) for one in lines])

    async def request(self) -> Heard:
        """A whole one. IncompleteReadError."""
        head = await self.head()
        if head.all("transfer-encoding") == ["chunked"]:
            body = bytearray()
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            trailers = []
            while (line := await self.reader.readline()) != b"\r\n":
                trailers.append(parsed(line[:-2]))
            return Heard(head.line, head.fields, bytes(body), trailers)
        length = int((head.all("content-length") or ["0"])[0])
        return Heard(head.line, head.fields, await self.reader.readexactly(length))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Return once the other end has closed the connection, or reset it."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass

    def break_off(self) -> None:
        """As an app that is killed."""
        if self.writer.is_closing():
            return
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def parsed(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


Act = Callable[[Visit], Awaitable[None]]


class Stage:
    """Listens on port from `opened` on. What it does with a connection is `act`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[Heard] = []
        """By acts that say so."""
        self.act: Act = self.answering(OK)
        self.visits: list[Visit] = []
        self.faults: list[BaseException] = []

    def answering(self, *answers: bytes) -> Act:
        """Hear whole requests, and answer one after the other; the last answer again and again."""

        async def act(visit: Visit) -> None:
            while True:
                self.heard.append(await visit.request())
                await visit.say(answers[min(len(self.heard), len(answers)) - 1])

        return act

    def answers(self, *answers: bytes) -> None:
        self.act = self.answering(*answers)

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(reader, writer)
        self.visits.append(visit)
        try:
            await self.act(visit)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other end has left
        except Exception as error:
            self.faults.append(error)
        finally:
            visit.is_over = True
            writer.close()


@asynccontextmanager
async def staged(port: int) -> AsyncIterator[Stage]:
    """An app on port, for the length of the block. What went wrong in it is raised at the end."""
    stage = Stage(port)
    server = await asyncio.start_server(stage._visited, "127.0.0.1", port, limit=2**20)
    try:
        yield stage
    finally:
        server.close()
        for visit in stage.visits:
            visit.break_off()
        await server.wait_closed()
    assert not stage.faults, stage.faults
