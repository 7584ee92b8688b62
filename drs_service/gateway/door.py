"""Where agents dial in: `GET /tunnel`, a websocket (RFC 6455) with the subprotocol of the tunnel.

    Authorization: Bearer CREDENTIAL      what the agent made up, 32 random bytes or more, and says each time
    Drs-Join-Token: TOKEN                 the first time

It is answered with an error of the API, and no websocket, unless the agent may have the tunnel.
"""

import asyncio
import email.utils
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from websockets.datastructures import Headers as Fields
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from drs_service.api.errors import Error, status_of
from drs_service.errors import DrsServiceError, JoinRefused
from drs_service.tunnel import heads
from drs_service.tunnel.frames import SUBPROTOCOL, Buffer
from drs_service.tunnel.link import Link

if TYPE_CHECKING:
    from drs_service.gateway.gateway import Gateway

MAX_MESSAGE = 1024**2  # bytes; ours have MESSAGE
HANDSHAKE_PATIENCE = 30.0  # seconds
CLOSE_PATIENCE = 5.0  # seconds for the other end to close as well


class Door(asyncio.Protocol):
    """A connection of an agent; the wire of its link."""

    def __init__(self, gateway: "Gateway", front: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self.is_writable = True
        self._gateway = gateway
        self._front = front
        self._transport = transport
        self._websocket = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_MESSAGE)
        self._link: Link | None = None
        self._joining: asyncio.Task[None] | None = None
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_PATIENCE, transport.abort)

    # The transport's calls.

    def data_received(self, data: bytes) -> None:
        websocket = self._websocket
        websocket.receive_data(data)
        for event in websocket.events_received():
            if isinstance(event, Frame):
                self._hear(event)
            elif isinstance(event, Request):
                self._transport.pause_reading()
                self._joining = asyncio.create_task(self._join(event))
        self._pass_on()
        if websocket.handshake_exc is not None and self._joining is None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._joining is not None:
            self._joining.cancel()
        if self._link is not None:
            self._link.lost("the connection ended")
        self._gateway.doors.discard(self)
        self._front.connection_lost(exc)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._link is not None:
            self._link.flush()

    # The link's calls.

    def write(self, message: list[Buffer]) -> None:
        if self._websocket.state is OPEN:
            self._websocket.send_binary(b"".join(message))
            self._pass_on()

    def close(self) -> None:
        if self._websocket.state is OPEN:
            self._websocket.send_close(1000)
            self._pass_on()
        self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self._transport.abort)

    def abort(self) -> None:
        self._transport.abort()

    # ──

    async def _join(self, request: Request) -> None:
        response = self._websocket.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            try:
                if self._websocket.subprotocol != SUBPROTOCOL:
                    raise JoinRefused(f"The subprotocol is {SUBPROTOCOL}.")
                credential = heads.bearer((request.headers.get("Authorization") or "").encode())
                held = await self._gateway.attached(
                    (credential or b"").decode("ascii", "replace"), request.headers.get("Drs-Join-Token")
                )
            except DrsServiceError as error:
                response = refusal(error)
        self._joining = None
        self._deadline.cancel()
        self._websocket.send_response(response)
        self._pass_on()
        if self._websocket.state is OPEN:
            self._link = self._gateway.linked(held, self)
            self._transport.resume_reading()
        else:
            self._transport.close()

    def _hear(self, frame: Frame) -> None:
        if self._link is None:
            return
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            # Where one message ends and another begins says nothing.
            self._link.received(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self._websocket.send_close(1003)
        elif frame.opcode is Opcode.CLOSE:
            self._link.lost("the agent closed the connection")

    def _pass_on(self) -> None:
        """What the websocket has to say itself."""
        for data in self._websocket.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()


def refusal(error: DrsServiceError) -> Response:
    status = HTTPStatus(status_of(type(error)))
    body = msgspec.json.encode(Error(msg=str(error), status_code=status.value, code=error.code))
    fields = Fields(
        {
            "Date": email.utils.formatdate(usegmt=True),
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        }
    )
    if status is HTTPStatus.UNAUTHORIZED:
        fields["WWW-Authenticate"] = "Bearer"
    return Response(status.value, status.phrase, fields, body)
