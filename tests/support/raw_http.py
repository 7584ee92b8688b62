"""A client that sends exactly the bytes it is told to, for what well-behaved clients cannot be made to do."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.deadline import PATIENCE


class Reached(Protocol):
    """Something that listens."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are lower case, and those that come again are joined as RFC 9110 5.3 has it."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection to a service. Everything that waits does so for PATIENCE at most."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes, *, within: float | None = PATIENCE) -> None:
        async with asyncio.timeout(within):
            self._writer.write(data)
            await self._writer.drain()

    async def lines(self) -> list[str]:
        """Those of the head of the next answer, as they come."""
        async with asyncio.timeout(PATIENCE):
            return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]

    async def head(self) -> Answer:
        """The status and the headers of the next answer, interim ones included."""
        status_line, *lines = await self.lines()
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Answer(int(status_line.split(" ")[1]), headers)

    async def answer(self) -> Answer:
        """The next answer, with its content. Raises IncompleteReadError if that ends early."""
        head = await self.head()
        return Answer(head.status, head.headers, await self.read(int(head.headers.get("content-length", "0"))))

    async def early_answer(self) -> Answer | None:
        """An answer that does not wait for the request's end; None if the connection is reset in its place.

        Who answers before having read everything and then closes may reset it: what was sent last is not read.
        """
        try:
            return await self.answer()
        except ConnectionResetError:
            return None

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(size)

    async def chunk(self) -> bytes:
        """The next one of a chunked body; the last is empty, and `lines` are behind it if there are any."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self._reader.readline(), 16)
            return (await self._reader.readexactly(size + 2))[:-2] if size else b""

    async def some(self, most: int) -> bytes:
        """What has come, or comes next; nothing if the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(most)

    async def rest(self) -> bytes:
        """Whatever comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    def say_no_more(self) -> None:
        """Close the sending half: the server reads the end of the stream."""
        self._writer.write_eof()

    def hang_up(self) -> None:
        """Break the connection at once, as a client that is killed."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@asynccontextmanager
async def connected(service: Reached) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(service.host, service.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request(method: str, target: str, *headers: str) -> bytes:
    """The head of a request; each header is a line."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def asked(service: Reached, *pieces: bytes) -> Answer:
    """The answer to a request sent in these pieces over a connection of its own."""
    async with connected(service) as connection:
        for piece in pieces:
            await connection.send(piece)
        return await connection.answer()
