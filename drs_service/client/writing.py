"""A file as it comes: beside its place until it is whole and verified, so that nobody takes a part for the whole."""

import asyncio
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from drs_service.client.states import State, States
from drs_service.domain.checksums import Hasher, hasher
from drs_service.errors import TargetExists

BLOCK = 4 * 1024**2
FLUSH_SECONDS = 1.0  # whoever is killed has lost no more of a slow download


class Part:
    """An open file that grows, and the checksums of what is in it."""

    def __init__(self, path: Path, fd: int, states: States, state: State, algorithms: Iterable[str]) -> None:
        self.path = path
        self.size = 0
        """Bytes that are in it, or on their way in."""
        self._fd = fd
        self._states = states
        self._state = state
        self._algorithms = frozenset(algorithms)
        self._hashers: dict[str, Hasher] = {}
        self._block: list[bytes] = []
        self._gathered = 0
        self._flushed = time.monotonic()
        self._writing: asyncio.Task[None] | None = None

    @property
    def etag(self) -> str | None:
        """Of what the bytes are from."""
        return self._state.etag

    async def take_up(self) -> None:
        """Go on behind what is there."""
        self._hashers = {name: hasher(name) for name in sorted(self._algorithms)}
        self.size = await asyncio.to_thread(lambda: sum(map(self._hash, blocks(self._fd))))

    async def begin(self, etag: str | None) -> None:
        """Anew, with bytes of this ETag."""
        await self.settle()
        self._state = State(key=self._state.key, source=self._state.source, etag=etag)
        # First: bytes of one ETag are never found under another.
        os.ftruncate(self._fd, 0)
        self._states.save(self._state)
        await self.take_up()

    async def write(self, piece: bytes) -> None:
        self._block.append(piece)
        self._gathered += len(piece)
        self.size += len(piece)
        if self._gathered >= BLOCK or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            await self._flush()

    async def settle(self) -> None:
        """All that was written is in the file."""
        await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None
        self._flushed = time.monotonic()
        if self._block:
            block, self._block, self._gathered = self._block, [], 0
            self._writing = asyncio.create_task(asyncio.to_thread(self._write_now, block))

    def _write_now(self, block: list[bytes]) -> None:
        for piece in block:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            self._hash(piece)

    def _hash(self, piece: bytes) -> int:
        for one in self._hashers.values():
            one.update(piece)
        return len(piece)

    def checksums(self) -> dict[str, str]:
        return {name: one.hexdigest() for name, one in self._hashers.items()}

    async def publish(self, target: Path, *, replace: bool) -> None:
        """Under its name, durably and all at once. TargetExists unless nothing is there, or is to be replaced."""
        await asyncio.to_thread(os.fsync, self._fd)
        if replace:
            self.path.replace(target)
        else:
            try:
                os.link(self.path, target)  # a rename would replace what came there meanwhile
            except FileExistsError as error:
                raise TargetExists(f"{target} is there already, and different.") from error
            except OSError:  # a file system without links
                self.path.rename(target)
            else:
                self.path.unlink()
        self._states.forget(self._state.key)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._states.forget(self._state.key)


@contextmanager
def part(path: Path, states: States, source: str, algorithms: Iterable[str], *, force: bool) -> Iterator[Part]:
    """The part at path, of the bytes of source, for oneself alone. TargetExists if it is another's."""
    key = ["get", str(path)]
    known = states.find(key)
    if known is None and not force and os.path.lexists(path):
        raise TargetExists(f"{path} is in the way.")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TargetExists(f"{path} is being fetched already.") from error
        if known is None or known.source != source:
            os.ftruncate(fd, 0)
            known = State(key=key, source=source)
            states.save(known)
        yield Part(path, fd, states, known, algorithms)
    finally:
        os.close(fd)


def blocks(fd: int) -> Iterator[bytes]:
    os.lseek(fd, 0, os.SEEK_SET)
    while block := os.read(fd, BLOCK):
        yield block


async def examined(path: Path, algorithms: Iterable[str]) -> tuple[int, dict[str, str]] | None:
    """Size and checksums of what is there; None if it is not a regular file."""

    def read() -> tuple[int, dict[str, str]] | None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            hashers = {name: hasher(name) for name in algorithms}
            size = 0
            for block in blocks(fd):
                size += len(block)
                for one in hashers.values():
                    one.update(block)
            return size, {name: one.hexdigest() for name, one in hashers.items()}
        finally:
            os.close(fd)

    if await asyncio.to_thread(path.is_symlink):
        return None
    return await asyncio.to_thread(read)
