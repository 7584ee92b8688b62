"""A tunnel's websocket: understood by, and understanding, one that others wrote; what is forbidden closes it."""

import itertools
import os
from collections.abc import Callable

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.utils import apply_mask

from drs_service.tunnel.messages import Messages
from tests.support.tunnels import growth

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 300_000]
MASKS = pytest.mark.parametrize("masks", [True, False], ids=["agent", "node"])


def theirs(masks: bool) -> Protocol:
    """The other end of a Messages that masks or not, from the library."""
    return Protocol(Side.SERVER if masks else Side.CLIENT, state=OPEN, max_size=None)


def sent_by(protocol: Protocol) -> bytes:
    return b"".join(protocol.data_to_send())


def framed(opcode: int, payload: bytes = b"", *, masked: bool, fin: int = 0x80, length: int | None = None) -> bytes:
    """A frame, that need not be allowed. Shorter than 126 bytes."""
    key = os.urandom(4) if masked else b""
    size = len(payload) if length is None else length
    return (
        bytes((fin | opcode, (0x80 if masked else 0) | size)) + key + (apply_mask(payload, key) if masked else payload)
    )


def closing(messages: Messages) -> int:
    """The code with which it closed."""
    assert messages.is_closed
    other = theirs(messages._masks)
    other.receive_data(b"".join(messages.replies))
    assert other.close_rcvd is not None
    return other.close_rcvd.code


@MASKS
@pytest.mark.parametrize("size", SIZES)
def test_others_understand_what_is_sent(masks: bool, size: int) -> None:
    payload = os.urandom(size)
    protocol = theirs(masks)
    protocol.receive_data(b"".join(Messages(masks=masks).send([payload[: size // 2], payload[size // 2 :]])))
    [frame] = protocol.events_received()
    assert isinstance(frame, Frame) and (frame.opcode, bytes(frame.data)) == (Opcode.BINARY, payload)


@MASKS
def test_what_others_send_is_understood_wherever_it_is_cut(masks: bool) -> None:
    protocol = theirs(masks)
    payloads = [os.urandom(size) for size in (0, 5, 200)]
    for payload in payloads:
        protocol.send_binary(payload)
    protocol.send_binary(b"begin", fin=False)
    protocol.send_ping(b"ping")
    protocol.send_continuation(b" and end", fin=True)
    data = sent_by(protocol)
    for a, b in itertools.product(range(len(data) + 1), range(0, len(data) + 1, 16)):
        messages = Messages(masks=masks)
        cuts = sorted((a, b))
        pieces = [data[: cuts[0]], data[cuts[0] : cuts[1]], data[cuts[1] :]]
        heard = b"".join(bytes(one) for piece in pieces for one in messages.receive(piece))
        assert heard == b"".join(payloads) + b"begin and end"
        protocol.receive_data(b"".join(messages.replies))
        [pong] = protocol.events_received()
        assert isinstance(pong, Frame) and (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"ping")
        assert not messages.is_closed


@MASKS
def test_a_close_is_answered_with_its_code_and_is_the_end(masks: bool) -> None:
    messages = Messages(masks=masks)
    protocol = theirs(masks)
    protocol.send_close(4000, "bye")
    assert messages.receive(sent_by(protocol) + b"rest") == []
    assert closing(messages) == 4000
    replies = list(messages.replies)
    messages.close()
    assert messages.receive(b"more") == [] and messages.replies == replies


LIES: dict[str, tuple[int, Callable[[bool], bytes]]] = {
    "text": (1003, lambda masked: framed(0x1, b"x", masked=masked)),
    "an unknown opcode": (1002, lambda masked: framed(0x3, b"x", masked=masked)),
    "an unknown control": (1002, lambda masked: framed(0xB, b"x", masked=masked)),
    "a reserved bit": (1002, lambda masked: framed(0x2 | 0x40, b"x", masked=masked)),
    "the wrong mask": (1002, lambda masked: framed(0x2, b"x", masked=not masked)),
    "nothing to go on with": (1002, lambda masked: framed(0x0, b"x", masked=masked)),
    "a message in a message": (1002, lambda masked: framed(0x2, b"x", masked=masked, fin=0) * 2),
    "a control in parts": (1002, lambda masked: framed(0x9, b"x", masked=masked, fin=0)),
    "a long control": (1002, lambda masked: framed(0x9, b"\0\x7e", masked=False, length=126 | 0x80 * masked)),
    "no end": (1002, lambda masked: framed(0x2, b"\x7f" + b"\xff" * 7, masked=False, length=127 | 0x80 * masked)),
}


@MASKS
@pytest.mark.parametrize("lie", LIES)
def test_what_is_forbidden_closes_the_connection(masks: bool, lie: str) -> None:
    code, make = LIES[lie]
    messages = Messages(masks=masks)
    messages.receive(make(not masks) + bytes(20))
    assert closing(messages) == code


@MASKS
def test_pings_whose_answers_are_not_read_do_not_gather(masks: bool) -> None:
    messages = Messages(masks=masks)
    pings = framed(0x9, b"x" * 100, masked=not masks) * 100
    assert growth(lambda: [messages.receive(pings) for _ in range(50)]) < 20_000
    assert len(messages.replies) == 1
