"""The app in front of which an agent stands: requests from the tunnel go to it over HTTP/1, and its answers back.

Everything happens in the calls of the transports: no request has a task of its own, and no body is held.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from drs_service.tunnel import heads
from drs_service.tunnel.frames import Buffer, Code, Headers, Opened
from drs_service.tunnel.link import Link
from worker.connection import Connection

log = structlog.get_logger()

CONNECT_PATIENCE = 10.0  # seconds
IDLE = 4.0  # seconds that a connection is kept for the next request: less than servers commonly do
SAFELY_IDLE = 1.0  # and after which it gets none that must not be sent twice
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))  # RFC 9110 9.2.2
OWN = frozenset((b"origin", b"referer"))
TELLING = frozenset((b"content-length", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto"))
"""Names of fields of a request: of those in which the app stands, and of those that we go by."""
OF_INTEREST = heads.HOP_BY_HOP | {b"content-location", b"location"}
"""Of an answer, those that do not pass as they are."""


@dataclass(frozen=True, slots=True)
class Address:
    """Of the app: http, for it is on the same machine, or next to it."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Address":
        """ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise ValueError(f"{url} is not http://HOST:PORT")
        return cls(parts.hostname, parts.port or 80)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.authority}"


class Target:
    """Makes a party of each stream.

    keep_host: the app is told the public Host, and not its own; keep_prefix: and the public path.
    """

    def __init__(self, address: Address, *, keep_host: bool = False, keep_prefix: bool = False) -> None:
        self.address = address
        self.authority = address.authority.encode()
        self.origin = address.origin.encode()
        self.keep_host = keep_host
        self.keep_prefix = keep_prefix
        self.under_way = 0
        """Requests."""
        self._idle: deque[tuple[Connection, float]] = deque()
        self._now = asyncio.get_running_loop().time

    def open(self, link: Link, opened: Opened) -> "Errand":
        errand = Errand(self, link, opened)
        errand.begin()
        return errand

    def spare(self, *, within: float) -> Connection | None:
        """A connection that waits for a request, and has not for longer than that."""
        now = self._now()
        while self._idle:
            connection, since = self._idle.pop()
            if not connection.is_closing and now - since <= within:
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        now = self._now()
        while self._idle and now - self._idle[0][1] > IDLE:
            self._idle.popleft()[0].close()
        self._idle.append((connection, now))

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()


class Errand:
    """One request; the party of its stream."""

    def __init__(self, target: Target, link: Link, opened: Opened) -> None:
        self.link = link
        self.stream = opened.stream
        self.opened = opened
        self.is_over = False
        self._target = target
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[Buffer] = []
        self._trailers: Headers | None = None
        self._has_all = opened.ended
        self._chunked = False
        self._is_answered = False  # whole
        self._owed = 0  # bytes of the request that the app has not taken
        self._public = b""  # origin at which the app is reached
        self._may_try_again = opened.ended and opened.method in IDEMPOTENT
        target.under_way += 1

    def begin(self) -> None:
        within = IDLE if self._may_try_again else SAFELY_IDLE
        connection = self._target.spare(within=within) if self.opened.protocol == "http" else None
        if connection is not None:
            self._go(connection)
        else:
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        address = self._target.address
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_PATIENCE):
                _, connection = await loop.create_connection(Connection, address.host, address.port)
        except OSError as error:  # TimeoutError is one
            log.warning("the app is not reached", address=address.authority, reason=str(error))
            self._end(Code.UNREACHABLE)
            return
        self._connecting = None
        self._may_try_again = False
        self._go(connection)

    def _go(self, connection: Connection) -> None:
        self._connection = connection
        connection.carry(self, for_head=self.opened.method == b"HEAD")
        connection.write(self._head())
        for one in self._early:
            self._pass_on(one)
        self._early.clear()
        if self._has_all and not self.opened.ended:
            self._finish_request()

    def _head(self) -> bytes:
        opened, target = self.opened, self._target
        fields = {lower: value for name, value in opened.headers if (lower := name.lower()) in TELLING}
        public_host = fields.get(b"x-forwarded-host", b"")
        public = self._public = fields.get(b"x-forwarded-proto", b"") + b"://" + public_host
        prefix = fields.get(b"x-forwarded-prefix", b"")
        own = target.origin
        path = prefix + opened.target if target.keep_prefix and opened.target != b"*" else opened.target
        left_out = public if target.keep_prefix else public + prefix
        host = public_host if target.keep_host else target.authority
        lines = [b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (opened.method, path, host)]
        for name, value in opened.headers:
            if (lower := name.lower()) == b"host":
                continue
            if lower in OWN and not target.keep_host:
                # To the app, its pages are its own.
                if lower == b"origin" and value == public:
                    value = own
                elif lower == b"referer" and value.startswith(public + prefix):
                    value = own + value[len(left_out) :]
            lines.append(b"%s: %s\r\n" % (name, value))
        if opened.protocol == "websocket":
            lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        elif not opened.ended and b"content-length" not in fields:
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    # From the tunnel.

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None:
        raise AssertionError("only we answer")

    def on_data(self, data: Buffer, *, ended: bool) -> None:
        self._has_all = ended
        if self._is_answered:
            self.link.consumed(self.stream, len(data))  # nobody reads the rest
        elif self._connection is None:
            self._early.append(data)
        else:
            self._pass_on(data)
            if ended:
                self._finish_request()

    def on_trailers(self, headers: Headers) -> None:
        self._has_all = True
        self._trailers = headers
        if self._connection is not None and not self._is_answered:
            self._finish_request()

    def on_reset(self, code: int) -> None:
        self._end(None)

    def on_drained(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def _pass_on(self, data: Buffer) -> None:
        connection = self._connection
        assert connection is not None
        size = len(data)
        if size and self._chunked:
            connection.write(b"%x\r\n" % size)
            connection.write(data)
            connection.write(b"\r\n")
        elif size:
            connection.write(data)
        if connection.is_full:
            self._owed += size
        else:
            self.link.consumed(self.stream, size)

    def _finish_request(self) -> None:
        assert self._connection is not None
        if self._chunked:
            fields = b"".join(b"%s: %s\r\n" % one for one in self._trailers or [])
            self._connection.write(b"0\r\n" + fields + b"\r\n")
        elif self.opened.protocol == "websocket":
            self._connection.write_eof()

    # From the app.

    def took(self) -> None:
        """The app has room for more."""
        owed, self._owed = self._owed, 0
        if owed:
            self.link.consumed(self.stream, owed)

    def answered(self, status: int, headers: Headers, *, ended: bool) -> None:
        """ended: nothing follows but `complete`."""
        self._may_try_again = False
        kept = []
        named: frozenset[bytes] = frozenset()
        for name, value in headers:
            lower = name.lower()
            if lower not in OF_INTEREST:
                kept.append((name, value))
            elif lower not in heads.HOP_BY_HOP:  # only we know where the app thinks that it is
                kept.append((name, heads.moved(value, self._target.origin, self._public)))
            elif lower == b"connection":
                named |= heads.named_by(value)
        if named:
            kept = [one for one in kept if one[0].lower() not in named]
        try:
            self.link.head(self.stream, status, kept, end=ended)
        except ValueError:
            self._end(Code.BROKEN)

    def body(self, data: Buffer) -> bool:
        """Whether more may come at once."""
        self.link.data(self.stream, data)
        return not self.link.is_full(self.stream)

    def complete(self, trailers: Headers, *, reusable: bool) -> None:
        """The answer is whole."""
        connection, self._connection = self._connection, None
        self._is_answered = True
        if trailers:
            self.link.trailers(self.stream, trailers)
        else:
            self.link.data(self.stream, b"", end=True)
        self._over()
        assert connection is not None
        # To the app what followed a request to switch may be another request, which is still to be answered.
        if reusable and self._has_all and self.opened.protocol == "http":
            self._target.keep(connection)
        else:
            connection.close()
        self.took()

    def broken(self, reason: str) -> None:
        """The connection ended before the answer did."""
        self._connection = None
        if self._may_try_again:
            # It had been kept, and the app closed it as the request went out: it has not seen it.
            self._may_try_again = False
            self._connecting = asyncio.create_task(self._connect())
        else:
            log.warning("the app broke off", reason=reason)
            self._end(Code.BROKEN)

    def _end(self, code: Code | None) -> None:
        connection, self._connection = self._connection, None
        if self._connecting is not None and self._connecting is not asyncio.current_task():
            self._connecting.cancel()
        self._early.clear()
        self._over()
        if connection is not None:
            connection.abort()
        if code is not None:
            self.link.reset(self.stream, code)

    def _over(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._target.under_way -= 1
