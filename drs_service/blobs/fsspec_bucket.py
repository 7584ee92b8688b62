"""A bucket of files in any file system of fsspec that can rename.

    <root>/sha256/ab/cd/abcd…                      published
    <root>/staging/<kind>/<ab>/<abc+…>             staged: a name of several segments is one of files, so that no
                                                   directory is left when they go
    <root>/staging/hidden/<name>.<id>.<number>     parts, counted from 1; at 0 what is renamed when it is whole

Nothing is joined but by its bytes passing here.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from fsspec import AbstractFileSystem

from drs_service.blobs.bucket import Found, Overrides, Seen, Source
from drs_service.blobs.driver import Buffer
from drs_service.blobs.fsspec_files import (
    copied,
    info_of,
    is_there,
    listed,
    move,
    pieces,
    tag_of,
    write,
)
from drs_service.blobs.lanes import CALL_SECONDS, Connect, Lanes
from drs_service.blobs.owners import STAGING
from drs_service.errors import BlobCorrupt, StorageUnavailable

HIDDEN = f"{STAGING}hidden/"
WHOLE = 0


class FsspecBucket:
    """The files below one directory."""

    least_part = 1

    def __init__(self, root: str, connect: Connect, *, seconds: float = CALL_SECONDS) -> None:
        """Connect is asked for file systems, each of which is used in one thread; seconds are what a call may take."""
        self._root = root.rstrip("/")
        self._lanes = Lanes(connect, seconds=seconds)

    async def put(self, name: str, body: bytes, *, absent_only: bool = False) -> None:
        staged, target = self._at(hidden(name, new_id(), WHOLE)), self._at(path_of(name))

        def act(files: AbstractFileSystem) -> None:
            if absent_only and is_there(files, target):
                return
            try:
                write(files, staged, body)
                move(files, staged, target, len(body), over=not absent_only)
            except BaseException:
                with suppress(Exception):
                    files.rm_file(staged)
                raise

        await self._lanes.run(act)

    async def begin(self, name: str) -> str:
        return new_id()  # there is nothing to tell anybody yet

    async def put_part(self, name: str, multipart: str, number: int, body: bytes) -> str:
        path = self._at(hidden(name, multipart, number))
        await self._lanes.run(lambda files: write(files, path, body))
        return str(len(body))

    async def complete(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        parts = [Source(hidden(name, multipart, number), int(size)) for number, size in enumerate(tags, 1)]
        try:
            await self._join(name, multipart, parts)
        except KeyError as error:
            # It may be that it was done, and the answer was lost.
            if not await self._is_whole(name, sum(one.size for one in parts)):
                raise StorageUnavailable(reason=f"{error} is gone") from error
        await self.abort(name, multipart)

    async def abort(self, name: str, multipart: str) -> None:
        begun = hidden(name, multipart, "")
        for found in await self._listed(HIDDEN):
            if found.name.startswith(begun):
                await self._remove(found.name)

    async def concatenate(self, name: str, sources: Sequence[Source]) -> None:
        await self._join(name, new_id(), [Source(path_of(one.name), one.size) for one in sources])

    async def _join(self, name: str, multipart: str, sources: Sequence[Source]) -> None:
        """Of sources that are named by their paths. KeyError if one is not there."""
        staged, target = hidden(name, multipart, WHOLE), self._at(path_of(name))
        size = sum(one.size for one in sources)
        origins = [Source(self._at(one.name), one.size) for one in sources]
        moved = False
        copying = self._lanes.stepped(partial(copied, sources=origins, target=self._at(staged)))
        try:
            async for _ in copying:
                pass
            await self._lanes.run(lambda files: move(files, self._at(staged), target, size, over=False))
            moved = True
        finally:
            await copying.aclose()
            if not moved:
                await self._remove(staged)

    async def read(self, name: str, start: int, end: int, *, tag: str | None = None) -> AsyncGenerator[Buffer, None]:
        if start == end or tag is not None:
            seen = await self.look(name)
            if tag not in {None, seen.tag}:
                raise BlobCorrupt(key=name)
        if start == end:
            return
        reading = self._lanes.stepped(partial(pieces, path=self._at(path_of(name)), start=start, end=end))
        try:
            async for piece in reading:
                yield piece
        finally:
            await reading.aclose()

    async def look(self, name: str) -> Seen:
        path = self._at(path_of(name))
        info = await self._lanes.run(lambda files: info_of(files, path))
        return Seen(int(info["size"]), tag_of(info))

    async def size(self, name: str) -> int:
        return (await self.look(name)).size

    async def _is_whole(self, name: str, size: int) -> bool:
        try:
            return await self.size(name) == size
        except KeyError:
            return False

    async def delete(self, name: str) -> None:
        await self._remove(path_of(name))

    async def _remove(self, path: str) -> None:
        with suppress(KeyError):
            await self._lanes.run(lambda files: files.rm_file(self._at(path)))

    async def objects(self, prefix: str) -> AsyncIterator[Found]:
        begin = path_of(prefix)
        async for found in self._walked(begin[: begin.rfind("/") + 1], begin):
            yield replace(found, name=name_of(found.name))

    async def _walked(self, folder: str, begin: str) -> AsyncIterator[Found]:
        for found in await self._listed(folder):
            if not found.name.endswith("/"):
                if found.name.startswith(begin):
                    yield found
            elif found.name != HIDDEN and (found.name.startswith(begin) or begin.startswith(found.name)):
                async for below in self._walked(found.name, begin):
                    yield below

    async def _listed(self, folder: str) -> list[Found]:
        """What is in a folder, sorted, by its path; that of a folder ends with a slash."""
        return await self._lanes.run(partial(listed, path=self._at(folder), folder=folder))

    async def unfinished(self, prefix: str) -> AsyncIterator[Found]:
        last: dict[tuple[str, str], datetime] = {}
        for found in await self._listed(HIDDEN):
            words = found.name.removeprefix(HIDDEN).rsplit(".", 2)
            if len(words) < 3:
                continue  # none of ours: NFS keeps a file so that was removed while it is open
            flat, multipart, _ = words
            name = flat.replace("+", "/")
            if name.startswith(prefix):
                last[name, multipart] = max(found.at, last.get((name, multipart), found.at))
        for (name, multipart), at in last.items():
            yield Found(name, at, multipart)

    async def presign_read(self, name: str, *, expires_in: timedelta, overrides: Overrides) -> str:
        raise StorageUnavailable("This place signs no URLs.")

    async def close(self) -> None:
        await self._lanes.close()

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def new_id() -> str:
    return secrets.token_hex(8)


def path_of(name: str) -> str:
    """Also of the beginning of a name."""
    kind, _, rest = name.removeprefix(STAGING).partition("/")
    if not name.startswith(STAGING) or not rest:
        return name
    return f"{STAGING}{kind}/{rest[:2]}" + (f"/{rest.replace('/', '+')}" if len(rest) > 1 else "")


def name_of(path: str) -> str:
    if not path.startswith(STAGING):
        return path
    kind, _, rest = path.removeprefix(STAGING).partition("/")
    flat = rest.partition("/")[2]
    return f"{STAGING}{kind}/{flat.replace('+', '/')}" if flat else path


def hidden(name: str, multipart: str, number: int | str) -> str:
    return f"{HIDDEN}{name.replace('/', '+')}.{multipart}.{number}"
