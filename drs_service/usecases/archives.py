"""Bundles as archives: all of their files in one stream, made as it is sent."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from drs_service.blobs.driver import Buffer
from drs_service.domain.access import Principal
from drs_service.domain.archives.archive import MAX_PATH, Archive, Entry
from drs_service.domain.archives.tar import TarArchive
from drs_service.domain.archives.zip64 import ZipArchive
from drs_service.domain.objects import DrsObject
from drs_service.domain.ranges import ByteRange
from drs_service.errors import ArchiveImpossible
from drs_service.usecases.bundles import Bundles, File
from drs_service.usecases.downloads import Downloads

FORMATS: Mapping[str, type[Archive]] = {"zip": ZipArchive, "tar": TarArchive}
"""By the names that clients know them by; the first is for those who do not mind."""
EDITION = b"1"  # changes when the same files would make other bytes
FEW = 1000  # files that are planned on the event loop; more go to a thread
SMALL = 64 * 1024  # bytes: a piece of at most so many waits for more, until there are as many


class Archives:
    def __init__(self, bundles: Bundles, downloads: Downloads) -> None:
        self._bundles = bundles
        self._downloads = downloads

    async def plan(self, principal: Principal, bundle: DrsObject, form: type[Archive]) -> "Plan":
        """What the archive of a bundle will be.

        ArchiveImpossible unless all of its files are here.
        """
        files = await self._bundles.files(principal, bundle)
        return planned(form, files) if len(files) <= FEW else await asyncio.to_thread(planned, form, files)

    async def ready(self, plan: "Plan", *, begin: bool) -> None:
        """As `Downloads.ready`, of all its files."""
        await self._downloads.ready((file.object for file in plan.files), begin=begin)

    async def open(self, plan: "Plan") -> AsyncGenerator[Buffer, None]:
        """The bytes of the archive, begun: if its first file cannot be read that raises here, as in `Downloads.open`.

        Midway, the generator raises the same errors. The caller closes it.
        """
        pieces = begun(joined(self._pieces(plan)))
        await anext(pieces)
        return pieces

    async def _pieces(self, plan: "Plan") -> AsyncGenerator[Buffer, None]:
        archive = plan.form()
        for entry, file in zip(plan.entries, plan.files, strict=True):
            yield archive.begin(entry)
            async with aclosing(await self._downloads.open(file.object, ByteRange(0, entry.size))) as reading:
                async for piece in reading:
                    archive.update(piece)
                    yield piece
            yield archive.end()
        for piece in archive.finish():
            yield piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything about an archive but the bytes of its files."""

    form: type[Archive]
    files: Sequence[File]
    entries: Sequence[Entry]
    """Of the files, in their order."""
    length: int
    """Bytes of the archive."""
    tag: str
    """Two archives with the same one have the same bytes."""


def planned(form: type[Archive], files: Sequence[File]) -> Plan:
    """ArchiveImpossible for a path that is too long."""
    digest = hashlib.sha256(b"%b %b" % (form.media_type.encode("ascii"), EDITION))
    entries = []
    for path, drs_object in ((file.path, file.object) for file in files):
        if len(path) > MAX_PATH:
            raise ArchiveImpossible(f"A path has more than {MAX_PATH} characters: {path[:100]}…")
        assert drs_object.blob is not None
        entries.append(Entry(path, drs_object.blob.size, drs_object.created_time))
        line = f"\n{path} {drs_object.blob.digest.hex} {drs_object.created_time.timestamp()}"
        digest.update(line.encode("ascii"))
    return Plan(form=form, files=files, entries=entries, length=form.length(entries), tag=digest.hexdigest())


async def joined(pieces: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
    """The same bytes, without pieces that are hardly worth sending: most of an archive of small files are headers."""
    waiting = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            if len(piece) <= SMALL:
                waiting += piece
            if waiting and (len(piece) > SMALL or len(waiting) > SMALL):
                yield waiting
                waiting = bytearray()
            if len(piece) > SMALL:
                yield piece
    if waiting:
        yield waiting


async def begun(pieces: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
    """Nothing, once the first piece is there; then every piece."""
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        yield b""
        yield first
        async for piece in pieces:
            yield piece
