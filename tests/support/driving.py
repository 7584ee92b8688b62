"""Whole conversations with a driver."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from drs_service.blobs.driver import BlobDriver, Buffer, Staged
from drs_service.blobs.keys import key_for
from drs_service.domain.digest import Digest


def new_key() -> str:
    """A key that nobody has used."""
    return key_for(Digest(secrets.token_bytes(32)))


@asynccontextmanager
async def staging(driver: BlobDriver, *chunks: Buffer) -> AsyncIterator[Staged]:
    """The chunks staged, and discarded at the end of the block."""
    staged = await driver.stage()
    try:
        for chunk in chunks:
            await staged.write([chunk])
        yield staged
    finally:
        await staged.discard()


async def put(driver: BlobDriver, key: str, *chunks: Buffer) -> None:
    async with staging(driver, *chunks) as staged:
        await staged.publish(key)


async def fetch(driver: BlobDriver, key: str, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of key in the range, as the driver gives them out."""
    reading = driver.read(key, start, await driver.size(key) if end is None else end)
    return await collect(reading)


async def collect(reading: AsyncGenerator[Buffer, None]) -> bytes:
    collected = bytearray()
    try:
        async for piece in reading:
            collected += piece
    finally:
        await reading.aclose()
    return bytes(collected)


async def keys(driver: BlobDriver, prefix: str = "") -> list[str]:
    return [entry.key async for entry in driver.keys(prefix)]
