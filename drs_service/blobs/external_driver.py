"""An external place as one of ours, that is only read: a key leads to the file that has its bytes."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

from drs_service.blobs.driver import Buffer, Condition, Entry, Frost, Staged, Waiting
from drs_service.blobs.external import PUT_AWAY, ExternalFile, ExternalFiles, SignsExternal
from drs_service.blobs.keys import digest_of
from drs_service.domain.digest import Digest
from drs_service.errors import (
    AccessMethodNotFound,
    BlobCorrupt,
    BytesArchived,
    FileChanged,
    FileUnreadable,
    PlaceUnsuitable,
    StorageUnavailable,
)

Locate = Callable[[Digest], Awaitable[ExternalFile | None]]
"""The file that has the bytes of a digest, as it was when they were read; None if no file of the place has."""


class ExternalDriver:
    """Deleting a key forgets nothing: the file is not ours. It has no keys that we have written either.

    It `Freezes`, and never `Thaws`.
    """

    keeps_out = False

    def __init__(self, files: ExternalFiles, locate: Locate) -> None:
        self.files = files
        self._locate = locate

    async def _file(self, key: str) -> ExternalFile:
        digest = digest_of(key)
        file = await self._locate(digest) if digest is not None else None
        if file is None:
            raise KeyError(key)
        return file

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        file = await self._file(key)
        try:
            async for piece in self.files.read(file, start, end):
                yield piece
        except FileChanged as error:
            raise BlobCorrupt(key=file.path) from error
        except FileUnreadable as error:
            raise told(error, file) from error

    async def size(self, key: str) -> int:
        return (await self._look(await self._file(key))).size

    async def condition(self, key: str) -> Condition:
        return (await self._look(await self._file(key))).condition

    async def _look(self, file: ExternalFile) -> ExternalFile:
        try:
            return await self.files.look(file.path)
        except FileUnreadable as error:
            raise told(error, file) from error

    async def delete(self, key: str) -> None:
        pass

    async def keys(self, prefix: str) -> AsyncIterator[Entry]:
        nothing: tuple[Entry, ...] = ()
        for one in nothing:
            yield one

    async def waiting(self) -> AsyncIterator[Entry]:
        nothing: tuple[Entry, ...] = ()
        for one in nothing:
            yield one

    async def clean(self) -> int:
        return 0

    async def probe(self) -> None:
        await self.files.probe()

    async def close(self) -> None:
        await self.files.close()

    async def stage(self) -> Staged:
        refuse()

    async def begin(self) -> str:
        refuse()

    async def resume(self, handle: str) -> Waiting:
        refuse()

    async def forget(self, handle: str) -> None:
        pass


class SigningExternalDriver(ExternalDriver):
    """With the power of `Presigns`."""

    async def presign_read(self, key: str, *, valid: timedelta, content_type: str, content_disposition: str) -> str:
        """AccessMethodNotFound if the file is another by now: nobody would notice, past us. BytesArchived."""
        try:
            file = await self._file(key)
            found = await self.files.look(file.path)
        except (KeyError, FileUnreadable):
            found = None
        if found is None or found != file:
            raise AccessMethodNotFound("The file is not what it was any more.")
        if found.condition.frost is not Frost.NONE:
            raise BytesArchived(PUT_AWAY)
        assert isinstance(self.files, SignsExternal)
        return await self.files.presign(
            file.path, valid=valid, content_type=content_type, content_disposition=content_disposition
        )


def told(error: FileUnreadable, file: ExternalFile) -> StorageUnavailable:
    return StorageUnavailable(str(error), key=file.path, alone=True)


def refuse() -> NoReturn:
    raise PlaceUnsuitable("The place is external: its files are only read.")
