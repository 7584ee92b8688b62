"""One file on its way to a service, however often that is cut short.

begin ──► send ──► … ──► the object      the upload's URL is in a state file from the first answer on
  ▲         │
  └── the service knows the upload no more
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from drs_service.client.answers import DrsObject, read
from drs_service.client.past import Past
from drs_service.client.patience import Patience
from drs_service.client.reading import Reading
from drs_service.client.states import State, States
from drs_service.client.tus import Standing, Tus
from drs_service.client.watching import Watcher
from drs_service.errors import NotFound, Rejected, Unavailable
from drs_service.outgoing.transfers import Transfers

MIB = 1024**2
BRINGERS = 4  # parts that go past the service at the same time, at least
BEGINNINGS = 3  # a service that loses uploads this often will not keep the next one


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How files are sent."""

    chunk_size: int = 64 * MIB
    streams: int = 1
    check_first: bool = False
    direct: bool = False
    """Past the service, to where it keeps the bytes."""
    patience: float = 300.0


class Sending:
    """The sending of one file."""

    def __init__(
        self,
        transfers: Transfers,
        service_url: str,
        states: States,
        watcher: Watcher,
        how: How,
        *,
        name: str,
        reading: Reading,
        metadata: Mapping[str, str],
    ) -> None:
        self._transfers = transfers
        self._service_url = service_url
        self._tus = Tus(transfers, service_url)
        self._states = states
        self._watcher = watcher
        self._how = how
        self._name = name
        self._reading = reading
        self._metadata = dict(metadata)
        # Nothing is gained by parts that are smaller than a chunk.
        self._streams = 1 if how.direct else min(how.streams, max(1, reading.size // MIB))
        self._done = dict[int, int]()
        said = [f"{key}={value}" for key, value in sorted(metadata.items())]
        size, changed = reading.version
        self.key = ["put", service_url, name, str(size), str(changed), str(self._streams), *said]

    async def send(self) -> tuple[DrsObject, str, str]:
        """The object, its URL, and the sha-256 of the file; the same, if the file was sent before.

        FileChanged, OSError, Unavailable, Forbidden, and Rejected with what the service says.
        """
        size = self._reading.size
        self._watcher.begins(self._name, size)
        if self._how.check_first:
            self._metadata["sha-256"] = await self._reading.sha256()
        for beginning in range(BEGINNINGS):
            try:
                object_url = await (self._in_parts() if self._streams > 1 else self._in_one())
                found = await self._object(object_url)
                break
            except NotFound:
                # What has come of it is gone: it waited for too long, or was deleted.
                self._states.forget(self.key)
                if beginning == BEGINNINGS - 1:
                    raise
        self._moved(0, size)
        sha256 = await self._reading.sha256()
        if found.size != size or found.computable().get("sha-256", sha256) != sha256:
            self._states.forget(self.key)
            raise Rejected(
                f"{object_url} has {found.size} bytes with the sha-256 {found.computable().get('sha-256')}, "
                f"but {self._name} has {size} with {sha256}."
            )
        return found, object_url, sha256

    def _state(self) -> State:
        return self._states.find(self.key) or State(key=self.key)

    async def _in_one(self) -> str:
        state, patience = self._state(), self._patience()
        if state.url is None:
            begun = await patience.of(lambda: self._tus.create(self._reading.size, self._metadata))
            self._states.save(State(key=self.key, url=begun.url))
        else:
            begun = await self._standing(state.url, self._reading.size, patience)
        if self._how.direct and begun.object_url is None and begun.offset == 0:
            return await self._past_the_service(begun.url)
        await self._reading.hash_up_to(begun.offset if begun.object_url is None else 0)
        return await self._to_its_end(begun, patience)

    async def _to_its_end(self, at: Standing, patience: Patience) -> str:
        size = self._reading.size
        while at.object_url is None:
            # With all its bytes and no object, it was cut off while it became one: so once more, with no bytes.
            at = await self._chunk(at, 0, min(size, at.offset + self._how.chunk_size), size, patience, hashed=True)
        return at.object_url

    async def _past_the_service(self, url: str) -> str:
        size, patience = self._reading.size, self._patience()
        past = Past(self._transfers, self._service_url, url.rpartition("/")[2])
        try:
            cut = await patience.of(past.here)
        except Rejected:
            await self._give_up(url)
            raise
        come = {one.number: one.size for one in cut.parts}
        turns = asyncio.Semaphore(max(BRINGERS, self._how.streams))

        async def bring(number: int) -> None:
            start = (number - 1) * cut.part_size
            end = min(start + cut.part_size, size)
            if come.get(number) != end - start:
                patience = self._patience()
                async with turns:
                    await patience.of(lambda: past.bring(number, self._watched(start, 0, end - start, hashed=False)))
            self._moved(start, end - start)

        hashing = asyncio.create_task(self._reading.hash_up_to(size))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, cut.count + 1):
                    group.create_task(bring(number))
            await hashing
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            hashing.cancel()
        return await patience.of(past.complete)

    async def _give_up(self, url: str) -> None:
        self._states.forget(self.key)
        with suppress(NotFound, Unavailable):  # it expires
            await self._tus.give_up(url)

    async def _in_parts(self) -> str:
        size = self._reading.size
        each = -(-size // self._streams)
        spans = [(start, min(start + each, size)) for start in range(0, size, each)]
        state, patience = self._state(), self._patience()
        if state.url is not None:
            at = await self._standing(state.url, size, patience)
            return await self._to_its_end(at, patience)
        if len(state.parts) != len(spans):
            begun = [
                await patience.of(partial(self._tus.create, end - start, {}, is_part=True)) for start, end in spans
            ]
            state = State(key=self.key, parts=[one.url for one in begun])
            self._states.save(state)
        hashing = asyncio.create_task(self._reading.hash_up_to(size))
        try:
            async with asyncio.TaskGroup() as group:
                for url, (start, end) in zip(state.parts, spans, strict=True):
                    group.create_task(self._part(url, start, end))
            await hashing
        except ExceptionGroup as errors:
            # Not found: they may be joined already, and only the answer was lost. If they are not, that is refused.
            if not isinstance(errors.exceptions[0], NotFound):
                raise errors.exceptions[0] from errors
        finally:
            hashing.cancel()
        try:
            joined = await patience.of(lambda: self._tus.join(state.parts, self._metadata))
        except Rejected as error:
            raise NotFound(str(error)) from error
        self._states.save(State(key=self.key, url=joined.url))
        return await self._to_its_end(joined, patience)

    async def _part(self, url: str, start: int, end: int) -> None:
        patience = self._patience()
        at = await self._standing(url, end - start, patience)
        while at.offset < end - start:
            to = min(end - start, at.offset + self._how.chunk_size)
            at = await self._chunk(at, start, to, end - start, patience, hashed=False)

    async def _chunk(
        self, at: Standing, start: int, to: int, size: int, patience: Patience, *, hashed: bool
    ) -> Standing:
        """Send from where the upload stands up to there, or as far as it gets. start: where in the file it begins."""
        try:
            pieces = self._watched(start, at.offset, to, hashed=hashed)
            now = await self._tus.send(at.url, at.offset, to - at.offset, pieces)
        except Unavailable as error:
            await patience.wait(error)
            now = await self._standing(at.url, size, patience)
        if now.offset > at.offset or now.object_url is not None:
            patience.moved()
        self._moved(start, now.offset)
        return now

    async def _watched(self, start: int, offset: int, to: int, *, hashed: bool) -> AsyncGenerator[memoryview, None]:
        async for piece in self._reading.pieces(start + offset, start + to, hashed=hashed):
            yield piece
            offset += len(piece)
            self._moved(start, offset)

    async def _standing(self, url: str, size: int, patience: Patience) -> Standing:
        """NotFound too if it is not an upload of so many bytes."""
        at = await patience.of(lambda: self._tus.ask(url))
        if at.length not in (None, size) or at.offset > size:
            raise NotFound(f"{url} is another upload.")
        return at

    async def _object(self, url: str) -> DrsObject:
        patience = self._patience()

        async def ask() -> DrsObject:
            reply = await self._transfers.get(url)
            if reply.status == 202:
                patience.moved()  # the service is about it, and a long file takes long
            return read(reply, DrsObject)

        return await patience.of(ask)

    def _moved(self, start: int, offset: int) -> None:
        self._done[start] = offset
        together = self._streams > 1 or self._how.direct
        self._watcher.moved(self._name, sum(self._done.values()) if together else offset)

    def _patience(self) -> Patience:
        return Patience(self._how.patience, lambda seconds, error: self._watcher.waits(self._name, seconds, str(error)))
