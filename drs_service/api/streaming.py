"""Sending what is not held whole. If it fails midway the connection breaks: no short answer ever looks whole."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from litestar.types import Receive, Scope, Send

from drs_service.blobs.driver import Buffer

Headers = dict[str, str]

STALLED = 600.0  # seconds that a client may take for a piece; at two megabytes that is 3.5 kB/s
LET_OTHERS = 8  # pieces sent without waiting before others have their turn


class Bytes:
    """An answer that streams. If its content fails midway the connection breaks: no short answer ever looks whole."""

    def __init__(self, status: int, headers: Headers, content: AsyncGenerator[Buffer, None] | None = None) -> None:
        self._status = status
        self._headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        if self._content is not None:
            await send_all(self._content, receive, send)
        else:
            await send_end(send)


async def send_all(content: AsyncGenerator[Buffer, None], receive: Receive, send: Send) -> None:
    """Send the body of an answer that has been begun, and close content."""
    # The server lets us send into the void: without asking we would read a whole file for nobody.
    gone = asyncio.create_task(client_gone(receive))
    try:
        async with aclosing(content):
            turn = 0
            async for piece in content:
                # What is in the page cache is read without waiting, and nobody waits for a client that has left:
                # unless we do now and then, the loop stands still to the end of the file.
                turn += 1
                if turn % LET_OTHERS == 0:
                    await asyncio.sleep(0)
                if gone.done():
                    return
                # The types say bytes; the server takes any buffer.
                async with asyncio.timeout(STALLED):
                    await send({"type": "http.response.body", "body": cast(bytes, piece), "more_body": True})
    finally:
        gone.cancel()
    await send_end(send)


async def send_end(send: Send) -> None:
    async with asyncio.timeout(STALLED):
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
