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
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from drs_service.api.bearer import bearer_in
from drs_service.api.errors import Error, told
from drs_service.errors import DrsServiceError, JoinRefused, Rejected
from drs_service.tunnel.frames import SUBPROTOCOL, Buffer
from drs_service.tunnel.link import Link
from drs_service.tunnel.messages import Messages
from drs_service.usecases.tunnels import Held

if TYPE_CHECKING:
    from drs_service.gateway.gateway import Gateway

HANDSHAKE_PATIENCE = 30.0  # seconds
CLOSE_PATIENCE = 5.0  # seconds for what was written to be taken


class Door(asyncio.Protocol):
    """A connection of an agent; the wire of its link."""

    def __init__(self, gateway: "Gateway", front: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self.is_writable = True
        self._gateway = gateway
        self._front = front
        self._transport = transport
        self._handshake = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._messages = Messages(masks=False)
        self._held: Held | None = None  # once the agent may have the tunnel
        self._link: Link | None = None  # once it has spoken
        self._joining: asyncio.Task[None] | None = None
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_PATIENCE, transport.abort)

    # The transport's calls.

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._hear(data)
            return
        handshake = self._handshake
        handshake.receive_data(data)
        for event in handshake.events_received():
            if isinstance(event, Request) and not handshake.eof_sent:  # else what came behind it is no websocket's
                self._transport.pause_reading()
                self._joining = asyncio.create_task(self._join(event))
        if handshake.eof_sent and self._joining is None:
            self._answer()
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._link is not None:
            self._link.lost("the connection ended")
        elif self._held is not None:
            self._gateway.never_came(self._held)
        self._gateway.doors.discard(self)
        self._front.connection_lost(exc)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._link is not None:
            self._reply()
            self._link.flush()

    # The link's calls.

    def write(self, message: list[Buffer]) -> None:
        if not self._messages.is_closed:
            self._transport.writelines(self._messages.send(message))

    def close(self) -> None:
        self._messages.close()
        self._reply()

    def abort(self) -> None:
        self._transport.abort()

    # ──

    async def _join(self, request: Request) -> None:
        handshake, held = self._handshake, None
        response = handshake.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            try:
                if handshake.subprotocol != SUBPROTOCOL:
                    raise JoinRefused(f"The subprotocol is {SUBPROTOCOL}.")
                said = request.headers.get_all("Authorization")
                credential = bearer_in(one.encode("latin-1") for one in said)
                tokens = request.headers.get_all("Drs-Join-Token")
                if len(tokens) > 1:
                    raise JoinRefused
                held = await self._gateway.attached(credential or "", tokens[0] if tokens else None)
            except DrsServiceError as error:
                response = refusal(*told(error))
        else:
            response = no_websocket(response)
        self._joining = None
        if self._transport.is_closing():
            if held is not None:
                self._gateway.never_came(held)
            return
        handshake.send_response(response)
        self._answer()
        if held is None:
            self._transport.close()
        else:
            self._held = held
            self._transport.resume_reading()

    def _answer(self) -> None:
        for data in self._handshake.data_to_send():
            if data:
                self._transport.write(data)

    def _hear(self, data: bytes) -> None:
        pieces = self._messages.receive(data)
        if self._link is None:
            # The agent speaks first: until then it may not have understood that this is a websocket.
            assert self._held is not None
            self._deadline.cancel()
            self._link = self._gateway.linked(self._held, self)
        for piece in pieces:
            self._link.received(piece)
        self._reply()

    def _reply(self) -> None:
        """Say what the websocket has to say itself."""
        messages = self._messages
        if messages.replies and (self.is_writable or messages.is_closed):
            self._transport.writelines(messages.replies)
            messages.replies = []
        if messages.is_closed:
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self._transport.abort)


def no_websocket(said: Response) -> Response:
    """What the library finds wrong with the handshake, in the shape of our errors."""
    message, *_ = said.body.decode("utf-8", "replace").splitlines()
    fault = Error(msg=message, status_code=said.status_code, code=Rejected.code)
    response = refusal(said.status_code, msgspec.json.encode(fault))
    if said.status_code == HTTPStatus.UPGRADE_REQUIRED:
        response.headers["Upgrade"] = "websocket"  # RFC 9110 15.5.22
    return response


def refusal(code: int, body: bytes) -> Response:
    status = HTTPStatus(code)
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
