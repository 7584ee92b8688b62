"""Bytes that lie in an archive are brought back before they are read: how fast, and for how long."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Tier(StrEnum):
    """How fast, and how dear. Amazon's names; what a storage does not have is the next slower one of its own."""

    EXPEDITED = "expedited"
    """Minutes."""
    STANDARD = "standard"
    """Hours."""
    BULK = "bulk"
    """A day or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thaw:
    """How bytes are brought back."""

    tier: Tier = Tier.STANDARD
    days: int = 7
    """For how long they can be read then, where they go back into the archive by themselves."""
    daily: int | None = None
    """Bytes that are brought back within 24 hours; None: no limit."""

    @property
    def retry_after(self) -> int:
        """Seconds after which it is worth to ask for them again: an hour at most, for nobody knows it exactly."""
        return 120 if self.tier is Tier.EXPEDITED else 3600

    @property
    def look_again(self) -> timedelta:
        """How often the storage is asked whether they are back."""
        return timedelta(minutes=1 if self.tier is Tier.EXPEDITED else 10)
