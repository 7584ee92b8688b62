"""Who may do what. One pure function decides; every use case asks it.

Until identities are configured everybody is anonymous, and what is in the service is open to whoever reaches it:
that is why it then serves loopback only.
"""

from dataclasses import dataclass
from enum import Enum

DEFAULT_SPACE = "default"


class Action(Enum):
    READ = "read"
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    id: str


ANONYMOUS = Principal("anonymous")


def is_somebody(principal: Principal) -> bool:
    """Whether it is always the same one who asks under this name. Anonymous is everybody who is not identified."""
    return principal != ANONYMOUS


def may(principal: Principal, action: Action, *, space: str) -> bool:
    """Whether principal may do action to what lives in space."""
    match action:
        case Action.READ | Action.CREATE | Action.CHANGE | Action.DELETE:
            return principal == ANONYMOUS and space == DEFAULT_SPACE


def readable_spaces(principal: Principal) -> tuple[str, ...]:
    """The spaces whose objects principal may read: where a search looks."""
    return (DEFAULT_SPACE,) if may(principal, Action.READ, space=DEFAULT_SPACE) else ()
