"""Archives made piece by piece, read by the standard library's own readers."""

import io
import struct
import tarfile
import tracemalloc
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import BinaryIO
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.archives.archive import MAX_PATH, Archive, Buffer, Entry
from drs_service.domain.archives.tar import TarArchive
from drs_service.domain.archives.zip64 import PIECE, ZipArchive

FORMATS: list[type[Archive]] = [ZipArchive, TarArchive]
NOW = datetime(2026, 7, 4, 12, 30, 15, 999_999, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GIB = 1024**3

both = pytest.mark.parametrize("archive_format", FORMATS)

names = st.text("abzAZ019._-", min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=6).map("/".join)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=zones) | st.integers(-(10**9), 5 * 10**9).map(lambda at: EPOCH + timedelta(seconds=at))
contents = st.binary(max_size=1200) | st.sampled_from([511, 512, 513, 10_240]).map(bytes)
files = st.builds(lambda path, data, at: (Entry(path, len(data), at), data), paths, contents, times)
directories = st.builds(lambda path, at: (Entry(path + "/", 0, at), b""), paths, times)
members = st.lists(files | directories, max_size=8, unique_by=lambda member: member[0].path.removesuffix("/"))
cuts = st.integers(1, 700)

Member = tuple[Entry, bytes]


def packed(archive: Archive, members: Sequence[Member], cut: int = 1 << 20) -> Iterator[Buffer]:
    """Everything that a caller sends, entries' bytes in pieces of `cut`."""
    for entry, data in members:
        yield archive.begin(entry)
        for start in range(0, len(data), cut):
            piece = memoryview(data)[start : start + cut]
            archive.update(piece)
            yield piece
        yield archive.end()
    yield from archive.finish()


def empty(paths: int) -> Iterator[Entry]:
    return (Entry(f"{number}", 0, NOW) for number in range(paths))


def fields(extra: bytes) -> dict[int, bytes]:
    """An extra field's parts by their header IDs."""
    found: dict[int, bytes] = {}
    while extra:
        number, length = struct.unpack_from("<2H", extra)
        assert number not in found
        found[number], extra = extra[4 : 4 + length], extra[4 + length :]
        assert len(found[number]) == length
    return found


def listed(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """What the central directory lists, held against what a reader meets that goes from the first byte on."""
    with zipfile.ZipFile(file) as archive:
        infos, directory = archive.infolist(), archive.start_dir
    at = 0
    for info in infos:
        size, crc, offset = info.file_size, info.CRC, info.header_offset
        assert offset == at
        file.seek(at)
        header = struct.unpack("<4s5H3I2H", file.read(30))
        path, local = file.read(header[9]).decode(), fields(file.read(header[10]))
        zip64 = size >= 0xFFFFFFFF
        flags = 0x808 if size else 0x800
        assert header[:4] == (b"PK\x03\x04", 45 if zip64 else 20, flags, zipfile.ZIP_STORED)
        assert header[6:9] == ((0, 0xFFFFFFFF, 0xFFFFFFFF) if zip64 else (0, 0, 0))
        assert local.get(1) == (bytes(16) if zip64 else None)
        central = fields(info.extra)
        values = [size] * 2 * zip64 + [offset] * (offset >= 0xFFFFFFFF)
        assert central.get(1, b"") == struct.pack(f"<{len(values)}Q", *values)
        assert info.extract_version == (45 if values else 20)
        assert (info.filename, info.flag_bits, info.compress_size) == (path, flags, size)
        assert (info.date_time[0] - 1980) << 9 | info.date_time[1] << 5 | info.date_time[2] == header[5]
        assert info.date_time[3] << 11 | info.date_time[4] << 5 | info.date_time[5] // 2 == header[4]
        assert local.get(0x5455) == central.get(0x5455)
        at = file.seek(size, io.SEEK_CUR)
        if size:
            descriptor = struct.pack("<4sI2Q" if zip64 else "<4s3I", b"PK\x07\x08", crc, size, size)
            assert file.read(len(descriptor)) == descriptor
            at += len(descriptor)
    assert at == directory
    return infos


@given(members, cuts)
def test_a_zip_gives_back_every_byte_and_every_name(members: list[Member], cut: int) -> None:
    whole = b"".join(packed(ZipArchive(), members, cut))
    infos = listed(io.BytesIO(whole))
    assert [info.filename for info in infos] == [entry.path for entry, _ in members]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert [archive.read(info) for info in infos] == [data for _, data in members]
    assert [info.is_dir() for info in infos] == [entry.is_directory for entry, _ in members]
    modes = [0o40755 if entry.is_directory else 0o100644 for entry, _ in members]
    assert [info.external_attr >> 16 for info in infos] == modes
    assert ZipArchive.length(entry for entry, _ in members) == len(whole)


@given(members, cuts)
def test_a_tar_is_byte_for_byte_what_python_writes(members: list[Member], cut: int) -> None:
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, data in members:
            info = tarfile.TarInfo(entry.path)
            info.size, info.mtime = entry.size, (entry.modified - EPOCH) // timedelta(seconds=1)
            if entry.is_directory:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info, io.BytesIO(data))
    whole = b"".join(packed(TarArchive(), members, cut))
    assert whole == expected.getvalue()
    assert TarArchive.length(entry for entry, _ in members) == len(whole)


@given(members)
def test_a_tar_gives_back_every_byte_and_every_name(members: list[Member]) -> None:
    whole = io.BytesIO(b"".join(packed(TarArchive(), members)))
    with tarfile.open(fileobj=whole, mode="r|") as archive:
        for (entry, data), info in zip(members, archive, strict=True):
            assert (info.name, info.isdir()) == (entry.path.removesuffix("/"), entry.is_directory)
            assert (info.mode, info.uid, info.gid) == (0o755 if entry.is_directory else 0o644, 0, 0)
            assert info.mtime == (entry.modified - EPOCH) // timedelta(seconds=1)
            if (file := archive.extractfile(info)) is not None:
                assert file.read() == data


@pytest.mark.parametrize("size", [0, 8**11 - 1, 8**11, 2**63 - 1])
@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 256, MAX_PATH])
@pytest.mark.parametrize("at", [0, -1, 8**11 - 1, 8**11])
def test_a_tar_s_header_holds_any_size_and_path_and_time(size: int, length: int, at: int) -> None:
    entry = Entry("a" * length, size, EPOCH + timedelta(seconds=at))
    header = TarArchive().begin(entry)
    with tarfile.open(fileobj=io.BytesIO(header)) as archive:
        info = archive.next()
    assert info is not None
    assert (info.name, info.size, info.mtime) == (entry.path, size, at)
    data = -(-size // 512) * 512
    assert TarArchive.length([entry]) == -(-(len(header) + data + 1024) // 10_240) * 10_240


@pytest.mark.parametrize(
    ("modified", "dos", "unix"),
    [
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), (1980, 1, 1, 0, 0, 0), None),
        (EPOCH - timedelta(seconds=1), (1980, 1, 1, 0, 0, 0), None),
        (EPOCH, (1980, 1, 1, 0, 0, 0), 0),
        (datetime(1980, 1, 1, 0, 0, 3, tzinfo=UTC), (1980, 1, 1, 0, 0, 2), 315_532_803),
        (datetime(2026, 7, 4, 23, 30, 15, 999_999, timezone(timedelta(hours=-5))), (2026, 7, 5, 4, 30, 14), 1783225815),
        (datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC), (2038, 1, 19, 3, 14, 6), 2**31 - 1),
        (datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), (2038, 1, 19, 3, 14, 8), None),
        (datetime(2108, 1, 1, tzinfo=UTC), (2107, 12, 31, 23, 59, 58), None),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), (2107, 12, 31, 23, 59, 58), None),
    ],
)
def test_a_zip_s_times_are_in_utc_and_as_near_as_it_can_say(
    modified: datetime, dos: tuple[int, ...], unix: int | None
) -> None:
    whole = b"".join(packed(ZipArchive(), [(Entry("a", 0, modified), b"")]))
    (info,) = listed(io.BytesIO(whole))
    assert info.date_time == dos
    assert fields(info.extra) == ({} if unix is None else {0x5455: b"\x01" + struct.pack("<i", unix)})


@pytest.mark.parametrize(("count", "zip64"), [(2, False), (65_535, True), (70_000, True)])
def test_a_zip_may_have_more_entries_than_16_bits_can_count(count: int, zip64: bool) -> None:
    pieces = list(packed(ZipArchive(), [(entry, b"") for entry in empty(count)]))
    whole = b"".join(pieces)
    assert ZipArchive.length(empty(count)) == len(whole)
    assert max(map(len, pieces)) <= PIECE
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.namelist() == [entry.path for entry in empty(count)]
    assert struct.unpack_from("<2H", whole, len(whole) - 22 + 8) == (min(count, 0xFFFF),) * 2
    # Python finds the Zip64 end record without the locator that leads others to it.
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(whole) - 98, 1)
    assert (whole[-98:-94] == b"PK\x06\x06") == (whole[-42:-22] == locator) == zip64


class Zeros(io.RawIOBase):
    """A file whose long runs of zeros take no room."""

    def __init__(self) -> None:
        self.size = self._at = 0
        self._starts: list[int] = []
        self._pieces: list[bytes] = []

    def append(self, piece: bytes) -> None:
        self._starts.append(self.size)
        self._pieces.append(piece)
        self.size += len(piece)

    def skip(self, count: int) -> None:
        self.size += count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # typeshed has a wider private type
        nearest = bisect_right(self._starts, self._at) - 1
        within = self._pieces[nearest][self._at - self._starts[nearest] :]
        following = [*self._starts, self.size][nearest + 1]
        piece = (within or bytes(min(following - self._at, len(buffer))))[: len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def of_zeros(*entries: Entry) -> Zeros:
    """A zip of these entries, whose bytes are zeros."""
    file, archive, zeros = Zeros(), ZipArchive(), bytes(1024**2)
    for entry in entries:
        file.append(archive.begin(entry))
        for _ in range(entry.size // len(zeros)):
            archive.update(zeros)
        archive.update(memoryview(zeros)[: entry.size % len(zeros)])
        file.skip(entry.size)
        file.append(archive.end())
    for piece in archive.finish():
        file.append(piece)
    return file


def test_a_zip_may_be_longer_than_32_bits_can_count() -> None:
    sizes = 0xFFFFFFFF, 4 * GIB + 1, 3  # what needs 64 bits: the size; the size and the offset; the offset
    entries = [Entry(path, size, NOW) for path, size in zip("abc", sizes, strict=True)]
    file = of_zeros(*entries)
    assert ZipArchive.length(entries) == file.size
    infos = listed(file)  # type: ignore[arg-type]  # what zipfile asks of a file is there
    assert [info.file_size for info in infos] == list(sizes)
    assert [info.header_offset >= 0xFFFFFFFF for info in infos] == [False, True, True]
    # Over zeros a CRC-32 comes round again after 2^32 - 1 bytes.
    assert [info.CRC for info in infos] == [crc32(b""), crc32(bytes(2)), crc32(bytes(3))]


@both
def test_an_entry_with_bytes_missing_does_not_end(archive_format: type[Archive]) -> None:
    archive = archive_format()
    archive.begin(Entry("a", 3, NOW))
    archive.update(b"ab")
    with pytest.raises(ValueError, match="a was to have 3 bytes, not 2"):
        archive.end()
    archive.update(b"c")
    archive.end()


@both
@pytest.mark.parametrize("path", ["a", "a/"])
def test_an_entry_with_bytes_too_many_never_ends(archive_format: type[Archive], path: str) -> None:
    archive = archive_format()
    archive.begin(Entry(path, 0, NOW))
    with pytest.raises(ValueError, match=f"{path} was to have 0 bytes and has more"):
        archive.update(b"a")
    with pytest.raises(ValueError, match="not 1"):
        archive.end()
    with pytest.raises(ValueError, match="has not ended"):
        archive.finish()


@both
def test_what_is_called_out_of_its_turn_is_refused(archive_format: type[Archive]) -> None:
    archive = archive_format()
    with pytest.raises(ValueError, match="no entry has begun"):
        archive.update(b"")
    with pytest.raises(ValueError, match="no entry has begun"):
        archive.end()
    archive.begin(Entry("a", 0, NOW))
    with pytest.raises(ValueError, match="a has not ended"):
        archive.begin(Entry("b", 0, NOW))
    with pytest.raises(ValueError, match="a has not ended"):
        archive.finish()
    archive.end()
    with pytest.raises(ValueError, match="no entry has begun"):
        archive.end()
    archive.finish()
    with pytest.raises(ValueError, match="the archive is finished"):
        archive.begin(Entry("b", 0, NOW))
    with pytest.raises(ValueError, match="the archive is finished"):
        archive.finish()


@both
@pytest.mark.parametrize("again", ["a/b", "a/b/"])
def test_a_path_is_in_an_archive_once(archive_format: type[Archive], again: str) -> None:
    first, second = Entry("a/b", 0, NOW), Entry(again, 0, NOW)
    archive = archive_format()
    archive.begin(first)
    archive.end()
    with pytest.raises(ValueError, match="a/b is in the archive already"):
        archive.begin(second)
    with pytest.raises(ValueError, match="a/b is in the archive already"):
        archive_format.length([first, second])


@both
def test_a_piece_is_counted_in_bytes_whatever_its_items(archive_format: type[Archive]) -> None:
    archive = archive_format()
    archive.begin(Entry("a", 8, NOW))
    archive.update(memoryview(bytes(8)).cast("Q"))
    archive.end()


@both
def test_an_entry_costs_little_memory(archive_format: type[Archive]) -> None:
    archive, count = archive_format(), 2_000
    entries = [Entry(f"samples/run-{number:06}/reads.bam", 0, NOW) for number in range(count)]
    tracemalloc.start()
    try:
        for entry in entries:
            archive.begin(entry)
            archive.end()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 250 * count


@pytest.mark.parametrize("path", ["a", "a.b", "-", "...", "..a", "a/..b/c", ".a/b-_/", "a" * MAX_PATH])
def test_a_path_has_portable_names(path: str) -> None:
    assert Entry(path, 0, NOW).is_directory == path.endswith("/")


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/a", "a//b", "a//", ".", "..", "./a", "../a", "a/..", "a/../", "a/./b", "../"),
        *("a\\b", "a b", "é", "a\n", "a\0", "C:", "a" * (MAX_PATH + 1)),
    ],
)
def test_a_path_of_anything_else_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path in an archive"):
        Entry(path, 0, NOW)


@pytest.mark.parametrize(("path", "size"), [("a", -1), ("a/", 1), ("a", 2**63)])
def test_a_size_that_cannot_be_is_refused(path: str, size: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        Entry(path, size, NOW)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Entry("a", 0, NOW.replace(tzinfo=None))
