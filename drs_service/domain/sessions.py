"""A session: one remote workspace, from when somebody asks for it until long after it is over.

            an agent attaches     nothing moves
  created ───────────────────▶ connected ◀──────▶ idle
     │                             │               │     stopping: the agent is told to end
     │                             ▼               ▼     ended: for good; what stays says why
     │                          stopping ◀─────────┘
     ▼                             ▼
   ended ◀───────────── any of them, if nobody holds its tunnel

Whether somebody holds its tunnel right now is another question: an agent may be away for a while, and come back.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from drs_service.domain.object_ids import crockford

_CHARACTERS = 16
_SESSION_ID = re.compile(rf"[0-9a-z]{{{_CHARACTERS}}}")
ID_BYTES = 10
SECRET_BYTES = 32


class State(StrEnum):
    CREATED = "created"
    CONNECTED = "connected"
    IDLE = "idle"
    STOPPING = "stopping"
    ENDED = "ended"


NEXT: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.CONNECTED, State.ENDED}),
    State.CONNECTED: frozenset({State.IDLE, State.STOPPING, State.ENDED}),
    State.IDLE: frozenset({State.CONNECTED, State.STOPPING, State.ENDED}),
    State.STOPPING: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}
LIVE = frozenset(State) - {State.ENDED}


def before(state: State) -> frozenset[State]:
    """The states that a session may come from."""
    return frozenset(one for one in State if state in NEXT[one])


class Reason(StrEnum):
    """Why a session ends."""

    STOPPED = "stopped"
    """Who may drive it said so."""
    EXPIRED = "expired"
    """It has lived for as long as it may."""
    IDLE = "idle"
    """Nothing has moved in it for too long, and no work was under way."""
    NEVER_JOINED = "never_joined"
    AGENT_LEFT = "agent_left"
    """The agent said that it ends, or was away for too long."""


class Kind(StrEnum):
    """What a secret of a session is good for."""

    DRIVING = "driving"
    """Everything; it is shown to whoever creates the session."""
    COOKIE = "cookie"
    """Driving it, in a browser."""
    VISIT = "visit"
    """Becoming a cookie, for the first browser that shows one of its link's."""
    LINK = "link"
    """Getting visits, until one of them has become a cookie."""
    JOIN = "join"
    """Becoming its agent, once."""
    AGENT = "agent"
    """Attaching its tunnel."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one state to the next."""

    number: int
    """Of all steps of its session, from 1: some in the middle may not be kept."""
    at: datetime
    before: State | None
    """None of the first."""
    after: State
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    id: str
    """Tells it from others. It opens nothing: that takes a secret."""
    owner: str
    space: str
    name: str | None
    target: str | None
    """What its owner says that the agent serves."""
    state: State
    reason: Reason | None
    """Why it ends or has ended."""
    state_at: datetime
    epoch: int
    """How often its tunnel was attached; of two tunnels the one with the greater epoch is the session's."""
    held: bool
    """Whether a node that lives holds its tunnel."""
    tunnel_at: datetime | None
    """Since when the tunnel is held, or is not any more; None if it never was."""
    running: int
    """Work that the agent reports to be under way."""
    created_at: datetime
    join_by: datetime
    joined_at: datetime | None
    active_at: datetime
    expires_at: datetime
    idle: timedelta
    """For how long nothing may move in it."""
    history: tuple[Step, ...] = ()
    """Its first steps and its newest."""

    @property
    def ended_at(self) -> datetime | None:
        return self.state_at if self.state is State.ENDED else None

    @property
    def version(self) -> str:
        """Another one whenever its state, or whether its tunnel is held, is another one."""
        return f"{self.history[-1].number if self.history else 0}.{self.epoch}.{int(self.held)}"


def new_session_id(random: bytes) -> str:
    """With 10 random bytes. It fits into a path, into the name of a cookie, and begins with no hyphen."""
    return crockford(int.from_bytes(random), _CHARACTERS)


def is_session_id(text: str) -> bool:
    """Whether a session can have this id."""
    return _SESSION_ID.fullmatch(text) is not None


def hashed(secret: str) -> bytes:
    """What is kept of a secret: it is too long to be guessed from that, or from how long looking it up takes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
