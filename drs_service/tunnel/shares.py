"""Whose the streams of a link are that several sessions share."""


class Shares:
    """A stream that ends is let go of once; one that is not known may be let go of as well."""

    def __init__(self) -> None:
        self._session: dict[int, str] = {}
        """By stream."""
        self._count: dict[str, int] = {}
        """Streams by session."""

    def begun(self, stream: int, session: str) -> None:
        self._session[stream] = session
        self._count[session] = self._count.get(session, 0) + 1

    def ended(self, stream: int) -> None:
        session = self._session.pop(stream, None)
        if session is None:
            return
        left = self._count[session] - 1
        if left:
            self._count[session] = left
        else:
            del self._count[session]

    def may_begin(self, session: str, *, room: int) -> bool:
        """Whether it has fewer streams than are free: whatever others take, there is always room for one more session.

        Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
        """
        return self._count.get(session, 0) < room
