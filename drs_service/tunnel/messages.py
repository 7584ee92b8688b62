"""RFC 6455 behind its handshake, as far as a tunnel needs it: bytes in binary messages, whatever their borders.

No I/O. What comes is handed on in the pieces in which it comes, and not copied where it is not masked.
"""

import secrets
import struct

from drs_service.tunnel.frames import Buffer

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it comes without what is compiled
    from websockets.utils import apply_mask

MAX_CONTROL = 125  # bytes, RFC 6455 5.5
MAX_MESSAGE = 2**40  # bytes: nothing waits for the end of one

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RESERVED, MASKED = 0x80, 0x70, 0x80

NORMAL, PROTOCOL_ERROR, UNSUPPORTED = 1000, 1002, 1003


class Messages:
    """One end of a websocket. masks: it is the client's."""

    def __init__(self, *, masks: bool) -> None:
        self.replies: list[Buffer] = []
        """What is to be written before anything else. Whoever writes it clears it."""
        self.is_closed = False
        """Nothing more is received; what is in `replies` is the last that is sent."""
        self._masks = masks
        self._rest = b""  # of a head, or of a control frame
        self._left = 0  # bytes of a payload that have not come
        self._key = b""
        self._in_message = False

    def send(self, message: list[Buffer]) -> list[Buffer]:
        """The buffers of a message."""
        size = sum(map(len, message))
        if not self._masks:
            return [head(BINARY, size, 0), *message]
        key = secrets.token_bytes(4)
        return [head(BINARY, size, MASKED) + key, apply_mask(b"".join(message), key)]

    def close(self, code: int = NORMAL) -> None:
        """Say that this is the end."""
        if not self.is_closed:
            self.is_closed = True
            self._control(CLOSE, struct.pack("!H", code))

    def receive(self, data: bytes) -> list[Buffer]:
        """What the data have of messages."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[Buffer] = []
        view = memoryview(data)
        while view and not self.is_closed:
            if self._left:
                piece: Buffer = view[: self._left]
                view = view[len(piece) :]
                self._left -= len(piece)
                pieces.append(self._unmasked(piece))
            else:
                used = self._begin(view)
                if not used:
                    self._rest = bytes(view)
                    break
                view = view[used:]
        return pieces

    def _unmasked(self, piece: Buffer) -> Buffer:
        if self._masks:
            return piece
        key, turn = self._key, len(piece) % 4
        self._key = key[turn:] + key[:turn]
        return apply_mask(piece, key)

    def _begin(self, view: memoryview) -> int:
        """Read the head of a frame, and a control frame whole. How long that is; 0: it has not come whole."""
        size = len(view)
        if size < 2:
            return 0
        opcode, length, at = view[0] & 0x0F, view[1] & 0x7F, 2
        is_masked = bool(view[1] & MASKED)
        if view[0] & RESERVED or is_masked == self._masks:
            self.close(PROTOCOL_ERROR)  # RFC 6455 5.1: a client masks, and a server does not
            return size
        if length > MAX_CONTROL:
            wide = 2 if length == 126 else 8
            if size < at + wide:
                return 0
            length = int.from_bytes(view[at : at + wide], "big")
            at += wide
        if is_masked:
            if size < at + 4:
                return 0
            self._key = bytes(view[at : at + 4])
            at += 4
        if opcode >= CLOSE:
            return self._hear_control(view, at, opcode, length)
        if opcode == TEXT:
            self.close(UNSUPPORTED)
        elif (
            opcode not in {CONTINUATION, BINARY} or (opcode == CONTINUATION) != self._in_message or length > MAX_MESSAGE
        ):
            self.close(PROTOCOL_ERROR)
        self._in_message = not view[0] & FIN
        self._left = length
        return at

    def _hear_control(self, view: memoryview, at: int, opcode: int, length: int) -> int:
        if length > MAX_CONTROL or not view[0] & FIN:
            self.close(PROTOCOL_ERROR)
            return len(view)
        if len(view) < at + length:
            return 0
        payload = bytes(self._unmasked(view[at : at + length]))
        if opcode == PING:
            # Only the last: they may come faster than answers are taken.
            self.replies = [one for one in self.replies if one[0] != FIN | PONG]
            self._control(PONG, payload)
        elif opcode == CLOSE:
            self.close(int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NORMAL)
        return at + length

    def _control(self, opcode: int, payload: bytes) -> None:
        if self._masks:
            key = secrets.token_bytes(4)
            self.replies.append(head(opcode, len(payload), MASKED) + key + apply_mask(payload, key))
        else:
            self.replies.append(head(opcode, len(payload), 0) + payload)


def head(opcode: int, size: int, masked: int) -> bytes:
    """RFC 6455 5.2: of a frame that is a message."""
    if size <= MAX_CONTROL:
        return bytes((FIN | opcode, masked | size))
    if size < 2**16:
        return struct.pack("!BBH", FIN | opcode, masked | 126, size)
    return struct.pack("!BBQ", FIN | opcode, masked | 127, size)
