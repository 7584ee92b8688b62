"""How an agent reaches the service: a websocket that it dials, through proxies and TLS as the environment says."""

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from drs_service.errors import JoinRefused, SessionEnded, SettingsInvalid, TunnelAbsent
from drs_service.tunnel.frames import SUBPROTOCOL, Buffer
from drs_service.tunnel.link import Link
from drs_service.tunnel.messages import Messages

PATIENCE = 20.0  # seconds for a connection to be made
CLOSE_PATIENCE = 5.0  # seconds for what was written to be taken


class Wire(ClientConnection):
    """The websocket, once it is one, as the wire of a link."""

    is_writable = True
    _link: Link | None = None

    def carry(self, make: Callable[["Wire"], Link]) -> Link:
        """Begin to be the wire of the link that make makes. The service says nothing before that does."""
        self._messages = Messages(masks=True)
        if is_over := self.transport.is_closing():  # by now: nobody says so any more
            self._messages.close()
        self._link = make(self)
        if is_over:
            self.loop.call_soon(self._link.lost, "the connection ended")
        return self._link

    # The link's calls.

    def write(self, message: list[Buffer]) -> None:
        if not self._messages.is_closed:
            self.transport.writelines(self._messages.send(message))

    def close(self) -> None:  # type: ignore[override]  # its own is a coroutine, which waits: nobody here does
        self._messages.close()
        self._reply()

    def _reply(self) -> None:
        messages = self._messages
        if messages.replies and (self.is_writable or messages.is_closed):
            self.transport.writelines(messages.replies)
            messages.replies = []
        if messages.is_closed:
            self.transport.close()
            self.loop.call_later(CLOSE_PATIENCE, self.transport.abort)

    # The connection's calls.

    def data_received(self, data: bytes) -> None:
        if self._link is None:
            super().data_received(data)
            return
        for piece in self._messages.receive(data):
            self._link.received(piece)
        self._reply()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._link is not None:
            self._link.lost(str(exc or "the connection ended"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_writable = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_writable = True
        if self._link is not None:
            self._reply()
            self._link.flush()


def tunnel_url(service: str) -> str:
    """Of the endpoint that agents dial. SettingsInvalid."""
    try:
        parts = urlsplit(service)
        _ = parts.port, service.encode()  # ValueError for what is none
    except ValueError as error:
        raise SettingsInvalid(f"{service} is not the URL of a service: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise SettingsInvalid(f"{service} is not the URL of a service.")
    if "@" in parts.netloc:
        raise SettingsInvalid("The URL of a service has no password in it.")
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/tunnel"


class Dialling(connect):
    """Nobody but the service hears what we say: where it leads elsewhere, nobody follows."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, credential: str, join_token: str | None) -> Wire:
    """A connection to a node that lets us in, at `tunnel_url`. JoinRefused, SessionEnded, TunnelAbsent for all else.

    SettingsInvalid where another try would bring the same.
    """
    fields = {"Authorization": f"Bearer {credential}"}
    if join_token is not None:
        fields["Drs-Join-Token"] = join_token
    try:
        connection = await Dialling(
            url,
            create_connection=Wire,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=fields,
            compression=None,
            ping_interval=None,  # the tunnel has its own
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            write_limit=(256 * 1024, 64 * 1024),
        )
    except InvalidStatus as error:
        raise refused(error) from error
    except (ImportError, ValueError, InvalidProxy) as error:  # of a proxy or an address that is none
        raise SettingsInvalid(f"{url} cannot be dialled: {error}") from error
    except (TimeoutError, OSError, InvalidHandshake, InvalidURI) as error:
        raise TunnelAbsent(f"The service is not reached: {str(error) or type(error).__name__}") from error
    assert isinstance(connection, Wire)
    return connection


class Refusal(msgspec.Struct):
    msg: str = ""
    code: str = ""


def refused(error: InvalidStatus) -> JoinRefused | SessionEnded | TunnelAbsent:
    """What an answer that is no websocket means."""
    status = error.response.status_code
    try:
        said = msgspec.json.decode(error.response.body or b"", type=Refusal)
    except msgspec.MsgspecError:
        said = Refusal()
    if status == 401 and said.code == JoinRefused.code:
        return JoinRefused(said.msg)
    if status == 410 and said.code == SessionEnded.code:
        return SessionEnded(said.msg)
    return TunnelAbsent(f"The service answers {status}{': ' + said.msg if said.msg else ''}")
