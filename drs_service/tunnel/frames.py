"""What travels in a tunnel, and what is never let through. No I/O."""

import re
import struct
from enum import Enum, IntEnum
from typing import Final

import msgspec

Header = tuple[bytes, bytes]
Headers = list[Header]
Buffer = bytes | bytearray | memoryview

VERSION: Final = 1
SUBPROTOCOL: Final = "drs-tunnel.1"

KIB = 1024
MIB = 1024 * KIB
MAX_HEAD = 128 * KIB  # bytes of an OPEN or HEAD
MAX_HELLO = 4 * KIB
MAX_REASON = KIB
MAX_CREDIT = 2**31 - 1
WINDOW = 64 * KIB  # bytes of each stream that an end takes before it has said anything
MOST_WINDOW = MIB  # and to which it lets a stream grow that is read
BUDGET = 64 * MIB  # bytes that all streams together may have sent and nobody read, as far as each has its WINDOW
MESSAGE = 128 * KIB  # bytes of a message, about
TURN = 16 * KIB  # bytes that a stream sends before others have their turn
ENOUGH = 512 * KIB  # bytes waiting in a stream, beyond which its producer pauses
MAX_STREAMS = 4096
MAX_INTERIM = 20  # heads of one stream before the final one
MAX_NUMBER = 2**32 - 1  # of a stream
MAX_RUNNING = 2**31 - 1
MAX_WAITING = 8 * MIB  # bytes of frames without credit that the other end has not taken, for another stream to begin
PROTOCOLS: Final = frozenset(("http", "websocket"))

FRAME = struct.Struct("!BII")
HEADER_SIZE = FRAME.size


class Kind(IntEnum):
    HELLO = 0
    OPEN = 1
    HEAD = 2
    DATA = 3
    CREDIT = 4
    RESET = 5
    PING = 6
    GOAWAY = 7


END: Final = 0x80
ACK: Final = 0x40
KIND: Final = 0x0F
WITHOUT_PAYLOAD: Final = frozenset((Kind.CREDIT, Kind.RESET, Kind.PING))
FLAGS: Final[dict[int, int]] = {Kind.OPEN: END, Kind.HEAD: END, Kind.DATA: END, Kind.PING: ACK}
KINDS: Final = frozenset(kind | flag for kind in Kind for flag in (0, FLAGS.get(kind, 0)))
"""The first bytes that a frame may have."""
MOST: Final[dict[int, int]] = {Kind.HELLO: MAX_HELLO, Kind.OPEN: MAX_HEAD, Kind.HEAD: MAX_HEAD, Kind.GOAWAY: MAX_REASON}


class Code(IntEnum):
    """Why a stream ended before its time."""

    NOT_NEEDED = 0  # the answer is whole, and the rest of the request is of no use
    CANCELLED = 1  # who asked has gone
    UNREACHABLE = 2  # nothing listens where the request was to go
    BROKEN = 3  # what listens there broke off, or does not speak HTTP
    TIMEOUT = 4  # it did not answer in time
    REFUSED = 5  # the end is about to go, or has nothing to do with it any more: nothing was done
    LOST = 6  # the connection further on ended
    INTERNAL = 7
    CROWDED = 8  # as many streams are open as there may be: nothing was done


class Leaving(IntEnum):
    """Why a connection is to end."""

    DRAINING = 0  # the node goes: dial again, to reach another one. What is under way goes on here
    STOPPED = 1  # the session ends
    SUPERSEDED = 2  # the agent has another connection
    FAILED = 3  # the other end did what is not allowed
    LEFT = 4  # the agent ends for good


class End(Enum):
    PUBLIC = "public"
    AGENT = "agent"


class Hello(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an end says of itself. Members that it does not know are ignored."""

    version: int
    window: int = WINDOW
    """Bytes of each stream that may come before any credit was given."""
    max_streams: int = MAX_STREAMS
    """Streams open at once."""
    epoch: int = 0
    """Of the connection, told by the public end: a higher one is younger."""
    target: str = ""
    """Origin of what the agent serves, told by the agent: http://127.0.0.1:8888."""
    url: str = ""
    """At which it is reached through the session, told by the public end: https://host/socket/ID."""
    software: str = ""


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A request."""

    stream: int
    protocol: str
    """`http`, or `websocket`: then what follows a 101 are bytes of that protocol, as they are on a connection."""
    method: bytes
    target: bytes
    """Path and query, as they came."""
    headers: Headers
    session: str
    """Whose it is, where a connection carries those of several."""
    ended: bool


class Head(msgspec.Struct, frozen=True, gc=False):
    """The beginning of an answer; with a status of 1xx but 101, another one follows."""

    stream: int
    status: int
    headers: Headers
    ended: bool


class Data(msgspec.Struct, frozen=True, gc=False):
    stream: int
    data: Buffer
    """Valid for as long as it is held."""
    ended: bool


class Trailers(msgspec.Struct, frozen=True, gc=False):
    """The end of a direction, with the fields that follow a body."""

    stream: int
    headers: Headers


class Reset(msgspec.Struct, frozen=True, gc=False):
    stream: int
    code: int


class Greeted(msgspec.Struct, frozen=True, gc=False):
    hello: Hello


class Pinged(msgspec.Struct, frozen=True, gc=False):
    """The other end lives; running: how much work it has under way."""

    running: int
    ack: bool


class Left(msgspec.Struct, frozen=True, gc=False):
    code: int
    reason: str


Event = Opened | Head | Data | Trailers | Reset | Greeted | Pinged | Left

encode = msgspec.msgpack.Encoder().encode
decode_open = msgspec.msgpack.Decoder(tuple[str, bytes, bytes, list[tuple[bytes, bytes]], str]).decode
decode_head = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, bytes]]]).decode
decode_hello = msgspec.msgpack.Decoder(Hello).decode

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 5.6.2
TARGET = re.compile(rb"(?:/[!-~\x80-\xff]*|\*)")


class Violation(Exception):
    """The other end did what is not allowed."""


def is_final(status: int) -> bool:
    """RFC 9110 15.2: what begins with a 1 is interim; but 101 is the last that is HTTP."""
    return status >= 200 or status == 101


known_names: set[bytes] = set()  # names of fields that were found to be some; few


def check_headers(headers: Headers) -> None:
    """Violation for what would be read as something else on a connection of HTTP/1."""
    for name, _ in headers:
        if name not in known_names:
            if not TOKEN.fullmatch(name):
                raise Violation(f"{name[:40]!r} is no name of a field")
            if len(known_names) < 1000 and len(name) < 64:
                known_names.add(name)
    values = b"".join([value for _, value in headers])
    if b"\n" in values or b"\r" in values or b"\0" in values:  # RFC 9110 5.5
        raise Violation("the value of a field has a line break")


def checked(hello: Hello) -> Hello:
    if hello.version != VERSION:
        raise Violation(f"version {hello.version} of the tunnel is not spoken here, but {VERSION}")
    if not (0 < hello.window <= MAX_CREDIT and hello.max_streams > 0):
        raise Violation("a HELLO with no room")
    return hello
