"""One stream of a tunnel, as one end sees it. No I/O."""

from collections import deque

from drs_service.tunnel.frames import Buffer


class Stream:
    """One stream, as one end sees it."""

    __slots__ = (
        "allowed",
        "answered",
        "credit",
        "ended",
        "ends",
        "held",
        "interim",
        "number",
        "paused",
        "pieces",
        "queued",
        "ready",
        "remote_ended",
        "since",
        "trailers",
        "window",
    )

    def __init__(self, number: int, *, credit: int, window: int) -> None:
        self.number = number
        # To the other end.
        self.credit = credit  # bytes that may be sent
        self.pieces: deque[Buffer] = deque()
        self.queued = 0  # bytes in them
        self.ends = False  # nothing follows them
        self.trailers: bytes | None = None
        self.ended = False  # that has been sent
        self.ready = False  # it stands in line
        self.paused = False  # its producer waits to hear that less is queued
        # From the other end.
        self.allowed = window  # bytes that may still come
        self.held = 0  # bytes that came and were not read
        self.since = 0  # bytes read since credit was given
        self.window = window
        self.answered = False  # the final head came, or went
        self.interim = 0  # heads before it
        self.remote_ended = False


def take(pieces: deque[Buffer], size: int, into: list[Buffer]) -> None:
    """Move the first size bytes of pieces."""
    while size:
        piece = pieces.popleft()
        if len(piece) > size:
            view = memoryview(piece)
            pieces.appendleft(view[size:])
            piece = view[:size]
        into.append(piece)
        size -= len(piece)


def forget(stream: Stream) -> None:
    """Let go of what a stream has to send."""
    stream.pieces.clear()
    stream.queued = 0
    stream.ready = False
    stream.ends = stream.ended = True
