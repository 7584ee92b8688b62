"""What links are put on where there is no connection."""

from drs_service.tunnel.frames import Buffer


class Wire:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.is_writable = True
        self.written: list[Buffer] = []

    def write(self, message: list[Buffer]) -> None:
        self.written += message

    def close(self) -> None:
        raise AssertionError("nothing is wrong")
