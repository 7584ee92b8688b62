"""Who waits for a session to change is woken."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from drs_service.db.changes import Change, SessionChanged


class Bells:
    """Rings when a session may have changed."""

    def __init__(self) -> None:
        self.hears = False
        """Whether changes are heard at all."""
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def heard(self, session_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever that session may have changed, for the length of the block."""
        rung = asyncio.Event()
        self._waiting[session_id].add(rung)
        try:
            yield rung
        finally:
            self._waiting[session_id].discard(rung)
            if not self._waiting[session_id]:
                del self._waiting[session_id]

    def on_connect(self) -> None:
        self.hears = True
        self._ring_all()  # something may have changed while nothing was heard

    def on_change(self, change: Change) -> None:
        if isinstance(change, SessionChanged):
            self.ring(change.id)

    def ring(self, session_id: str) -> None:
        """The session may have changed."""
        for one in self._waiting.get(session_id, ()):
            one.set()

    def on_loss(self) -> None:
        self.hears = False
        self._ring_all()

    def _ring_all(self) -> None:
        for waiting in self._waiting.values():
            for one in waiting:
                one.set()
