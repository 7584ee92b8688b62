"""What is under way, remembered in small files: whoever is killed goes on where it was.

<directory>/
└── <sha-256 of the key>.json    one upload, or one download; written whole or not at all
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec

KEPT_SECONDS = 30 * 86_400  # no service waits longer for an upload


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    key: list[str]
    url: str | None = None
    """Where the upload is."""
    parts: list[str] = []
    """Where the uploads are that it is to be joined of."""
    source: str | None = None
    """What the bytes of a download are of."""
    etag: str | None = None
    """Of the bytes that have come."""


class States:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: list[str]) -> State | None:
        """None also if what is there cannot be read: then everything begins anew."""
        try:
            state = msgspec.json.decode(self._path(key).read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            return None
        return state if state.key == key else None

    def save(self, state: State) -> None:
        path = self._path(state.key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(msgspec.json.encode(state))
        beside.replace(path)

    def forget(self, key: list[str]) -> None:
        self._path(key).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Forget what nobody has come back for."""
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                    path.unlink()

    def _path(self, key: list[str]) -> Path:
        return self._directory / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()}.json"
