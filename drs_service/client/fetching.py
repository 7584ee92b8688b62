"""The bytes of one file, from wherever they are to their place, however often that is cut short."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from drs_service.client.answers import AccessURL, is_preparing, refused
from drs_service.client.patience import Patience
from drs_service.client.states import States
from drs_service.client.watching import Watcher
from drs_service.client.writing import Part, examined, part
from drs_service.errors import ChecksumMismatch, EncodingUnsupported, SizeMismatch, TargetExists, Unavailable
from drs_service.outgoing.transfers import Incoming, Reply, Transfers

MAX_REFUSAL = 64 * 1024  # bytes of an error that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Bytes somewhere."""

    source: str
    """What they are of: as long as it is the same, a part of them is a part of them."""
    size: int | None
    checksums: dict[str, str] = field(default_factory=dict)
    """Computable ones, by algorithm."""
    where: Callable[[], Awaitable[AccessURL]]
    """Asked before each attempt: a URL may be good for some minutes only."""


class Fetching:
    def __init__(
        self,
        transfers: Transfers,
        states: States,
        watcher: Watcher,
        turns: asyncio.Semaphore,
        *,
        patience: float,
        prepared: float,
        force: bool,
    ) -> None:
        self._transfers = transfers
        self._states = states
        self._watcher = watcher
        self._turns = turns
        self._seconds = patience
        self._prepared = prepared
        self._force = force

    def patience(self, name: str) -> Patience:
        def tell(seconds: float, error: Unavailable) -> None:
            self._watcher.waits(name, seconds, str(error))

        return Patience(self._seconds, tell, prepared=self._prepared)

    async def fetch(self, remote: Remote, target: Path, part_path: Path) -> tuple[int, dict[str, str]]:
        """The file at target, with its size and the checksums that were held against it.

        TargetExists, ChecksumMismatch, SizeMismatch, OSError, and what servers refuse with.
        """
        patience = self.patience(str(target))
        while True:
            try:
                async with self._turns:
                    return await self._fetched(remote, target, part_path)
            except Unavailable as error:
                # That may take hours, in which others have their turns.
                if not is_preparing(error):
                    raise
                await patience.wait(error)

    async def _fetched(self, remote: Remote, target: Path, part_path: Path) -> tuple[int, dict[str, str]]:
        name = str(target)
        if await asyncio.to_thread(os.path.lexists, target):
            there = await examined(target, set(remote.checksums) | {"sha-256"})
            if there is not None and is_same(*there, remote):
                return there
            if not self._force:
                raise TargetExists(f"{target} is there already, and different.")
        self._watcher.begins(name, remote.size)
        algorithms = set(remote.checksums) | {"sha-256"}
        with part(part_path, self._states, remote.source, algorithms, force=self._force) as coming:
            await coming.take_up()
            if remote.size is not None and coming.size > remote.size:
                await coming.begin(None)
            patience = self.patience(name)
            while remote.size is None or coming.size < remote.size or coming.size == 0:
                before = coming.size
                try:
                    await self._attempt(remote, coming, name)
                    break
                except Unavailable as error:
                    await coming.settle()
                    if is_preparing(error):
                        raise
                    if coming.size > before:
                        patience.moved()
                    await patience.wait(error)
            await coming.settle()
            found = coming.checksums()
            for algorithm, value in remote.checksums.items():
                if found[algorithm] != value:
                    coming.discard()
                    raise ChecksumMismatch(
                        f"The {algorithm} of what came from {remote.source} is {found[algorithm]}, not {value}. "
                        "It was thrown away."
                    )
            await coming.publish(target, replace=self._force)
            return coming.size, {"sha-256": found["sha-256"], **remote.checksums}

    async def _attempt(self, remote: Remote, coming: Part, name: str) -> None:
        """Fetch what is missing. Unavailable if it did not all come."""
        access = await remote.where()
        if coming.size and coming.etag is None and not remote.checksums:
            await coming.begin(None)  # nothing would tell if these were other bytes
        ours = []
        if coming.size:
            ours.append(("Range", f"bytes={coming.size}-"))
            if coming.etag is not None:
                ours.append(("If-Range", coming.etag))
        async with self._transfers.fetch(access.url, headers=access.pairs(), ours=ours) as incoming:
            size = await self._agreed(incoming, coming)
            size = remote.size if remote.size is not None else size
            self._watcher.begins(name, size)
            async for piece in incoming.pieces:
                await coming.write(piece)
                if size is not None and coming.size > size:
                    break
                self._watcher.moved(name, coming.size)
        if size is not None and coming.size < size:
            raise Unavailable(f"{incoming.url} broke off after {coming.size} of {size} bytes.")
        if size is not None and coming.size > size:
            coming.discard()
            raise SizeMismatch(f"{incoming.url} has more bytes than the {size} that there should be.")

    async def _agreed(self, incoming: Incoming, coming: Part) -> int | None:
        """The size of the whole, if it is said, once the part is ready for what comes."""
        if incoming.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise EncodingUnsupported(f"{incoming.url} answers in an encoding that was not asked for.")
        length = incoming.headers.get("Content-Length", "")
        if incoming.status == 200:
            await coming.begin(strong(incoming.headers.get("ETag")))
            return int(length) if length.isascii() and length.isdigit() else None
        if incoming.status == 206 and coming.size:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", incoming.headers.get("Content-Range", ""))
            if span is not None and int(span[1]) == coming.size:
                return None if span[2] == "*" else int(span[2])
        if incoming.status in (206, 416):
            await coming.begin(None)
            raise Unavailable(f"{incoming.url} does not go on where it stopped: it is begun anew.")
        body = b""
        async for piece in incoming.pieces:
            body += piece
            if len(body) > MAX_REFUSAL:
                break
        raise refused(Reply(url=incoming.url, status=incoming.status, headers=incoming.headers, body=body))


def is_same(size: int, checksums: dict[str, str], remote: Remote) -> bool:
    """Whether these are the size and the checksums of remote, which has at least one."""
    return bool(remote.checksums) and remote.size in (None, size) and remote.checksums.items() <= checksums.items()


def strong(etag: str | None) -> str | None:
    """RFC 9110 13.1.5: a weak one is none for If-Range."""
    return None if etag is None or etag.startswith("W/") else etag
