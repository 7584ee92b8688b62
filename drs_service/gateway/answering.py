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
        return b"".join([*head_of(status, without_length(headers)), b"\r\n"]) if self._http_1_1 else b""

    def switched(self, headers: Headers) -> bytes:
        """What follows is not HTTP any more."""
        self.keep_alive = False
        self._body = Body.UNTIL_CLOSE
        return b"".join([*head_of(101, without_length(headers)), b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"])

    def head(self, status: int, headers: Headers, *, ended: bool) -> bytes:
        """ended: no body follows."""
        length = length_of(headers)
        if length is not None:  # once, however often it was there
            headers = without_length(headers)
            if status != 204:
                headers.append((b"Content-Length", b"%d" % length))
        lines = head_of(status, headers)
        # RFC 9112 6.3: whatever their fields say, these have none.
        if self._for_head or status in {204, 304}:
            self._body = Body.NONE
        elif length is not None:
            self._body, self._left = Body.LENGTH, length
        elif ended:
            lines.append(b"Content-Length: 0\r\n")
            self._body, self._left = Body.LENGTH, 0
        elif self._http_1_1:
            lines.append(b"Transfer-Encoding: chunked\r\n")
            self._body = Body.CHUNKED
        else:
            self.keep_alive = False
            self._body = Body.UNTIL_CLOSE
        if not self.keep_alive:
            lines.append(b"Connection: close\r\n")
        elif not self._http_1_1:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

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
                return b"".join([b"0\r\n", *lines_of(trailers), b"\r\n"])
            case Body.LENGTH if self._left:
                raise AnswerBroken("fewer bytes than its Content-Length")
        return b""


def head_of(status: int, headers: Headers) -> list[bytes]:
    """The lines of a head, without the empty one."""
    return [b"HTTP/1.1 %d %s\r\n" % (status, PHRASES.get(status, b"")), *lines_of(headers)]


def lines_of(headers: Headers) -> list[bytes]:
    return [b"%s: %s\r\n" % one for one in headers]


def without_length(headers: Headers) -> Headers:
    """RFC 9110 8.6: an answer that has no body in any case speaks of none."""
    return [one for one in headers if one[0].lower() != b"content-length"]


def length_of(headers: Headers) -> int | None:
    """RFC 9112 6.3: the same number, if it is there several times. AnswerBroken."""
    found = {value.strip() for name, value in headers if name.lower() == b"content-length"}
    if not found:
        return None
    [value, *others] = found
    if others or not (value.isdigit() and len(value) < 19):
        raise AnswerBroken("a Content-Length that is none")
    return int(value)
