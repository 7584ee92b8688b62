"""How much may come in, from whom, and how fast."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None where there is no limit."""

    bytes_of_owner: int | None = None
    bytes_of_space: int | None = None
    unfinished_uploads: int | None = None
    """Of one owner."""
    uploads_at_once: int | None = None
    """Requests that one process receives at the same time."""
    requests_per_minute: int | None = None
    """Of one owner to one process."""
    bytes_per_second: int | None = None
    """Of one owner to one process."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an owner holds, and what lies in a space: bytes of objects, each on its own, and of unfinished uploads,
    those among them that may have been brought past us.
    """

    of_owner: int
    of_space: int
    uploads: int
    """Of the owner, unfinished."""

    def room(self, limits: Limits) -> int | None:
        """Bytes that may still come; less than 0 if there is too much already, None if there is no end to it."""
        rooms = (
            limits.bytes_of_owner - self.of_owner if limits.bytes_of_owner is not None else None,
            limits.bytes_of_space - self.of_space if limits.bytes_of_space is not None else None,
        )
        return min((one for one in rooms if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """So much may happen at once, and so much again as time passes."""

    capacity: float
    rate: float
    """Per second."""
    level: float
    at: float
    """When it was so full, on the caller's clock."""

    @classmethod
    def full(cls, capacity: float, *, rate: float, now: float) -> Self:
        return cls(capacity, rate, capacity, now)

    def taken(self, amount: float, *, now: float) -> Self:
        """After amount has happened, whether there was as much in it or not."""
        return replace(self, level=self._level(now) - amount, at=max(self.at, now))

    def wait(self, amount: float, *, now: float) -> float:
        """Seconds until there is amount in it."""
        return max(0.0, (amount - self._level(now)) / self.rate)

    def _level(self, now: float) -> float:
        return min(self.capacity, self.level + max(0.0, now - self.at) * self.rate)
