"""multipart/form-data (RFC 7578) as a stream of files: no part is ever held whole, in memory or on disk."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from drs_service.blobs.driver import Buffer
from drs_service.domain.digest_fields import parse_repr_digest
from drs_service.domain.media_types import media_type
from drs_service.domain.names import form_file_name
from drs_service.errors import EncodingUnsupported, FormInvalid
from drs_service.usecases.uploads import Incoming


@dataclass(slots=True)
class Part:
    """A part whose headers have been read; names are lower case."""

    headers: dict[str, bytes] = field(default_factory=dict)


class PartEnd:
    """The end of the part that was begun last."""


class FormEnd:
    """The closing boundary."""


Event = Part | memoryview | PartEnd | FormEnd


class Form:
    """The files of one form, in the order in which they come.

    Fields that are not files are read past. FormInvalid for whatever is not such a form, or has too many parts.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes], *, max_parts: int) -> None:
        self._body = body
        self._max_parts = max_parts
        self._events: deque[Event] = deque()
        self._parser = MultipartParser(boundary_of(content_type), Callbacks(self._events).table())  # type: ignore[arg-type]

    async def files(self) -> AsyncGenerator[Incoming, None]:
        parts = 0
        while not isinstance(event := await self._next(), FormEnd):
            if not isinstance(event, Part):
                continue  # what a field that is no file holds, or the rest of a file that was not read
            parts += 1
            if parts > self._max_parts:
                raise FormInvalid(f"The form has more than {self._max_parts} fields.")
            if (incoming := self._incoming(event)) is not None:
                yield incoming
        async for _ in self._body:
            pass  # RFC 2046 5.1.1: an epilogue is not for us; but a request that breaks off in it was not whole

    def _incoming(self, part: Part) -> Incoming | None:
        """The file that a part brings; None if it brings none."""
        disposition, options = parse_options_header(part.headers.get("content-disposition", b""))
        if disposition != b"form-data":
            raise FormInvalid("A part of the form has no Content-Disposition: form-data.")
        name = decoded(options.get(b"filename", b""))
        if not name:
            return None  # an ordinary field, or a file field that was left empty
        check_plain(part)
        named = form_file_name(name)
        digest = part.headers.get("repr-digest")
        return Incoming(
            name=named,
            media_type=media_type(decoded(part.headers.get("content-type", b"")), name=named.original),
            digest=parse_repr_digest(decoded(digest)) if digest is not None else None,
            source=self._data(),
        )

    async def _data(self) -> AsyncGenerator[memoryview, None]:
        while isinstance(event := await self._next(), memoryview):
            yield event

    async def _next(self) -> Event:
        while not self._events:
            chunk = await anext(self._body, None)
            if chunk is None:
                raise FormInvalid("The form ends before its closing boundary.")
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise FormInvalid(f"The form is not multipart/form-data: {error}") from error
        return self._events.popleft()


class Callbacks:
    """What the parser tells, as events."""

    def __init__(self, events: deque[Event]) -> None:
        self._events = events
        self._part = Part()
        self._name = b""
        self._value = b""

    def table(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": lambda: self._events.append(self._part),
            "on_part_data": lambda data, start, end: self._events.append(memoryview(data)[start:end]),
            "on_part_end": lambda: self._events.append(PartEnd()),
            "on_end": lambda: self._events.append(FormEnd()),
        }

    def _part_begin(self) -> None:
        self._part = Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._name.decode("latin-1").lower()] = self._value
        self._name = self._value = b""


async def the_only(files: AsyncGenerator[Incoming, None]) -> Incoming:
    """The file of a form that has one. FormInvalid if it has none, or, while its bytes are read, if it has another."""
    first = await anext(files, None)
    if first is None:
        raise FormInvalid("The form has no file: one field needs a filename.")
    return replace(first, source=followed_by_none(first, files))


async def followed_by_none(file: Incoming, others: AsyncGenerator[Incoming, None]) -> AsyncGenerator[Buffer, None]:
    async for piece in file.source:
        yield piece
    async for _ in others:
        raise FormInvalid("The form has more than one file.")


def check_plain(part: Part) -> None:
    """EncodingUnsupported if the bytes of the part are not those of the file (RFC 7578 4.7 retired the second)."""
    coding = decoded(part.headers.get("content-encoding", b"identity")).strip().lower()
    transfer = decoded(part.headers.get("content-transfer-encoding", b"binary")).strip().lower()
    if coding != "identity" or transfer not in {"binary", "8bit", "7bit"}:
        raise EncodingUnsupported("A part of the form is encoded: send the bytes of the file as they are.")


def boundary_of(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    # RFC 2046 5.1.1: 1 to 70 characters
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
        raise FormInvalid("The Content-Type is not multipart/form-data with a boundary of 1 to 70 characters.")
    return boundary


def decoded(text: bytes) -> str:
    """Browsers send UTF-8 (RFC 7578 5.1); the odd old client sends latin-1."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
