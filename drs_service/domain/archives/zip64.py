"""Zip, as APPNOTE 6.3.10 has it: stored, with Zip64 where it is needed.

An archive, with what only a Zip64 one has in brackets:

    for each entry    local header [Zip64 sizes], bytes, data descriptor [of 8-byte sizes]
    for each entry    central header [Zip64 sizes, offset]
    [Zip64 end record, Zip64 locator], end record

Nothing is compressed: most of what is kept here is already, and so the length is known before the bytes are.
"""

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

# The same as zlib's, and ten times as fast: with zlib's, half the time of sending an archive would go into it.
from zlib_ng.zlib_ng import crc32

from drs_service.domain.archives.archive import Buffer, Entry, Paths, Turns

PIECE = 256 * 1024
"""The bytes of the central directory that are sent at once."""

# APPNOTE 4.4.1.4, 4.5.3: all ones means that the value is in a Zip64 record. So these values themselves are, too.
_IN_ZIP64_16 = 0xFFFF
_IN_ZIP64_32 = 0xFFFFFFFF

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE 4.3.7
_DESCRIPTOR = struct.Struct("<4s3I")  # 4.3.9
_DESCRIPTOR_ZIP64 = struct.Struct("<4sI2Q")  # 4.3.9.2
_CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_END_ZIP64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR_ZIP64 = struct.Struct("<4sIQI")  # 4.3.15
_END = struct.Struct("<4s4H2IH")  # 4.3.16
_EXTRA = struct.Struct("<2H")  # 4.5.1: header ID and size of an extra field
_EXTRA_TIME = struct.Struct("<2HBi")  # Info-ZIP's extended timestamp, 0x5455

_UTF8_NAME = 1 << 11  # 4.4.4
_HAS_DESCRIPTOR = 1 << 3
_STORED = 0

# 4.4.3.2: "2.0 - File is a folder (directory)", "4.5 - File uses ZIP64 format extensions". PKZIP 2 also brought the
# data descriptor.
_VERSION_2_0 = 20
_VERSION_4_5 = 45
_MADE_BY = 3 << 8 | _VERSION_4_5  # 4.4.2.2: Unix, for the modes in the external attributes

_FILE_ATTRIBUTES = 0o100644 << 16
_DIRECTORY_ATTRIBUTES = 0o040755 << 16 | 0x10  # 4.4.15: the low byte is that of MS-DOS

# 4.4.6: the date and time of MS-DOS, in steps of two seconds.
_DOS_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
_DOS_LATEST = datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)

# The extended timestamp has 32 bits, and readers differ on their sign.
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_LATEST = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class ZipArchive:
    """An uncompressed zip file. Files are rw-r--r--, directories rwxr-xr-x."""

    media_type: ClassVar[str] = "application/zip"
    suffix: ClassVar[str] = ".zip"

    __slots__ = ("_count", "_crc", "_directory", "_header_length", "_offset", "_turns")

    def __init__(self) -> None:
        self._turns = Turns()
        self._directory = bytearray()
        self._count = 0
        self._offset = 0  # of the entry that has begun, or is next
        self._header_length = 0
        self._crc = 0

    def begin(self, entry: Entry) -> bytes:
        self._turns.begin(entry)
        header = _local_header(entry)
        self._header_length, self._crc = len(header), 0
        return header

    def update(self, piece: Buffer) -> None:
        # In this order, so that bytes without a checksum are never counted.
        self._crc = crc32(piece, self._crc)
        self._turns.update(memoryview(piece).nbytes)

    def end(self) -> bytes:
        entry = self._turns.end()
        descriptor = _descriptor(entry, self._crc)
        self._directory += _central_header(entry, self._crc, self._offset)
        self._count += 1
        self._offset += self._header_length + entry.size + len(descriptor)
        return descriptor

    def finish(self) -> Iterator[bytes]:
        self._turns.finish()
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        directory = memoryview(self._directory)
        for start in range(0, len(directory), PIECE):
            yield bytes(directory[start : start + PIECE])
        yield _end(self._count, len(directory), self._offset)

    @staticmethod
    def length(entries: Iterable[Entry]) -> int:
        # Sums instead of headers: it is asked for before the first byte is sent, and an answer waits for it.
        paths = Paths()
        count = offset = directory = 0
        for entry in entries:
            paths.add(entry.path)
            named = len(entry.path) + (_EXTRA_TIME.size if _has_unix_time(entry) else 0)
            zip64_sizes = 16 if _is_zip64(entry) else 0
            zip64_offset = 8 if offset >= _IN_ZIP64_32 else 0
            directory += _CENTRAL_HEADER.size + named + _zip64_length(zip64_sizes + zip64_offset)
            offset += _LOCAL_HEADER.size + named + _zip64_length(zip64_sizes) + entry.size
            if entry.size:
                offset += _DESCRIPTOR_ZIP64.size if zip64_sizes else _DESCRIPTOR.size
            count += 1
        return offset + directory + len(_end(count, directory, offset))


def _local_header(entry: Entry) -> bytes:
    zip64 = _is_zip64(entry)
    # 4.4.4, bit 3: "the fields crc-32, compressed size and uncompressed size are set to zero in the local header."
    # 4.5.3 has the sizes at all ones where the Zip64 field has them, and: "This entry in the Local header MUST include
    # BOTH original and compressed file size fields." It also says that the descriptor has 8-byte sizes (4.3.9.2).
    size = _IN_ZIP64_32 if zip64 else 0
    extra = (_zip64_extra(0, 0) if zip64 else b"") + _time_extra(entry)
    path = entry.path.encode()
    return (
        _LOCAL_HEADER.pack(
            *(b"PK\x03\x04", _VERSION_4_5 if zip64 else _VERSION_2_0, _flags(entry), _STORED, *_dos_time(entry)),
            *(0, size, size),
            *(len(path), len(extra)),
        )
        + path
        + extra
    )


def _descriptor(entry: Entry, crc: int) -> bytes:
    if not entry.size:
        return b""
    descriptor = _DESCRIPTOR_ZIP64 if _is_zip64(entry) else _DESCRIPTOR
    # 4.3.9.4: "implementors SHOULD include the signature value marking the data descriptor record".
    return descriptor.pack(b"PK\x07\x08", crc, entry.size, entry.size)


def _central_header(entry: Entry, crc: int, offset: int) -> bytes:
    # 4.5.3: "the fields MUST only appear if the corresponding Local or Central directory record field is set to 0xFFFF
    # or 0xFFFFFFFF", and their order is fixed.
    zip64 = [entry.size, entry.size] if _is_zip64(entry) else []
    if offset >= _IN_ZIP64_32:
        zip64.append(offset)
    size = min(entry.size, _IN_ZIP64_32)
    extra = (_zip64_extra(*zip64) if zip64 else b"") + _time_extra(entry)
    path = entry.path.encode()
    return (
        _CENTRAL_HEADER.pack(
            *(b"PK\x01\x02", _MADE_BY, _VERSION_4_5 if zip64 else _VERSION_2_0, _flags(entry), _STORED),
            *(*_dos_time(entry), crc, size, size),
            *(len(path), len(extra), 0, 0, 0),
            *(_DIRECTORY_ATTRIBUTES if entry.is_directory else _FILE_ATTRIBUTES, min(offset, _IN_ZIP64_32)),
        )
        + path
        + extra
    )


def _end(count: int, size: int, offset: int) -> bytes:
    """What follows a central directory of `count` headers in `size` bytes at `offset`."""
    end = _END.pack(
        *(b"PK\x05\x06", 0, 0, min(count, _IN_ZIP64_16), min(count, _IN_ZIP64_16)),
        *(min(size, _IN_ZIP64_32), min(offset, _IN_ZIP64_32), 0),
    )
    if count < _IN_ZIP64_16 and size < _IN_ZIP64_32 and offset < _IN_ZIP64_32:
        return end
    # 4.3.14.1: "Size = SizeOfFixedFields + SizeOfVariableData - 12."
    record = (b"PK\x06\x06", _END_ZIP64.size - 12, _MADE_BY, _VERSION_4_5, 0, 0, count, count, size, offset)
    return _END_ZIP64.pack(*record) + _LOCATOR_ZIP64.pack(b"PK\x06\x07", 0, offset + size, 1) + end


def _flags(entry: Entry) -> int:
    # Of no bytes the checksum is known beforehand, and nothing needs to follow them.
    return _UTF8_NAME | (_HAS_DESCRIPTOR if entry.size else 0)


def _is_zip64(entry: Entry) -> bool:
    return entry.size >= _IN_ZIP64_32


def _zip64_extra(*values: int) -> bytes:
    return _EXTRA.pack(0x0001, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values)


def _zip64_length(values: int) -> int:
    return _EXTRA.size + values if values else 0


def _dos_time(entry: Entry) -> tuple[int, int]:
    # Clamped before it is moved to UTC: the first and the last hours of the calendar cannot be moved.
    at = max(_DOS_EARLIEST, min(entry.modified, _DOS_LATEST)).astimezone(UTC)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day


def _has_unix_time(entry: Entry) -> bool:
    return _UNIX_EPOCH <= entry.modified <= _UNIX_LATEST


def _time_extra(entry: Entry) -> bytes:
    # MS-DOS times have no zone and readers take them for local; this one is exact.
    if not _has_unix_time(entry):
        return b""
    seconds = (entry.modified - _UNIX_EPOCH) // _SECOND
    return _EXTRA_TIME.pack(0x5455, _EXTRA_TIME.size - _EXTRA.size, 1, seconds)  # 1: only the time of modification
