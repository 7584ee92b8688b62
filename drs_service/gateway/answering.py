"""How an answer is put on a connection of HTTP/1, so that its end is where it ends, whatever the app says."""

from enum import Enum, auto
from http import HTTPStatus

from drs_service.tunnel.frames import Buffer, Headers

PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


class AnswerBroken(Exception):
    """The answer is not what its head says."""


class Body(Enum):
    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class Answer:
    """The bytes of one answer. AnswerBroken where it contradicts itself."""

    __slots__ = ("_body", "_for_head", "_http_1_1", "_left", "keep_alive")

    def __init__(self, *, method: bytes, http_1_1: bool, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        """Whether another one can follow on the connection; known once the head is made."""
        self._for_head = method == b"HEAD"
        self._http_1_1 = http_1_1
        self._body = Body.NONE
        self._left = 0

    def interim(self, status: int, headers: Headers) -> bytes:
        """RFC 9110 15.2: a client of HTTP/1.0 knows none."""
        if not self._http_1_1:
            return b""
        lines, _ = head_of(status, headers)
        return joined(lines)

    def switched(self, headers: Headers) -> bytes:
        """What follows is not HTTP any more."""
        self.keep_alive = False
        self._body = Body.UNTIL_CLOSE
        lines, _ = head_of(101, headers)
        return joined([*lines, b"Connection: Upgrade", b"Upgrade: websocket"])

    def head(self, status: int, headers: Headers, *, ended: bool) -> bytes:
        """ended: no body follows."""
        lines, length = head_of(status, headers)
        if length is not None and status != 204:  # once, however often it was there
            lines.append(b"Content-Length: %d" % length)
        # RFC 9112 6.3: whatever their fields say, these have none.
        if self._for_head or status in {204, 304}:
            self._body = Body.NONE
        elif length is not None:
            self._body, self._left = Body.LENGTH, length
        elif ended:
            lines.append(b"Content-Length: 0")
            self._body, self._left = Body.LENGTH, 0
        elif self._http_1_1:
            lines.append(b"Transfer-Encoding: chunked")
            self._body = Body.CHUNKED
        else:
            self.keep_alive = False
            self._body = Body.UNTIL_CLOSE
        if not self.keep_alive:
            lines.append(b"Connection: close")
        elif not self._http_1_1:
            lines.append(b"Connection: keep-alive")
        return joined(lines)

    def data(self, data: Buffer) -> list[Buffer]:
        size = len(data)
        match self._body:
            case Body.UNTIL_CLOSE:
                return [data]
            case Body.CHUNKED:
                return [b"%x\r\n" % size, data, b"\r\n"] if size else []
            case Body.LENGTH:
                self._left -= size
                if self._left < 0:
                    raise AnswerBroken("more bytes than its Content-Length")
                return [data]
        if size and not self._for_head:
            raise AnswerBroken("a body where none may be")
        return []

    def end(self, trailers: Headers) -> bytes:
        match self._body:
            case Body.CHUNKED:
                return joined([b"0", *map(b": ".join, trailers)])
            case Body.LENGTH if self._left:
                raise AnswerBroken("fewer bytes than its Content-Length")
        return b""


def last(status: int, body: bytes) -> bytes:
    """An answer in JSON behind which the connection ends."""
    head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n" % (status, PHRASES[status])
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def head_of(status: int, headers: Headers) -> tuple[list[bytes], int | None]:
    """The lines of a head, without the empty one, and without the Content-Length, which comes apart. AnswerBroken."""
    lines = [b"HTTP/1.1 %d %s" % (status, PHRASES.get(status, b""))]
    lengths = set()
    for one in headers:
        if one[0].lower() == b"content-length":
            lengths.add(one[1].strip())
        else:
            lines.append(b": ".join(one))
    return lines, length_of(lengths) if lengths else None


def joined(lines: list[bytes]) -> bytes:
    """A head of these lines, or the end of a body."""
    lines += (b"", b"")
    return b"\r\n".join(lines)


def length_of(said: set[bytes]) -> int:
    """RFC 9112 6.3: the same number, if it is there several times. AnswerBroken."""
    [value, *others] = said
    if others or not (value.isdigit() and len(value) < 19):
        raise AnswerBroken("a Content-Length that is none")
    return int(value)
