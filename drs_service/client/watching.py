"""What whoever watches is told, and by whom: nothing here knows a terminal."""

from typing import Protocol


class Watcher(Protocol):
    def begins(self, name: str, size: int | None) -> None:
        """The bytes of this one begin to move. It may be said again, when more is known."""

    def moved(self, name: str, done: int) -> None:
        """So many bytes are there. It may become less."""

    def waits(self, name: str, seconds: float, why: str) -> None: ...

    def ended(self, name: str, *, well: bool) -> None: ...
