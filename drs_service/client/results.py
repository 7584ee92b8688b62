"""What became of each thing that was asked for."""

from collections.abc import Callable
from typing import Self

import msgspec

from drs_service.errors import DrsServiceError


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """It is there, and it is right."""

    path: str
    uri: str
    url: str
    id: str
    size: int
    sha256: str | None = None
    bundle: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """It is not, and why."""

    path: str
    error: str
    code: str

    @classmethod
    def of(cls, path: str, error: DrsServiceError | OSError) -> Self:
        if isinstance(error, DrsServiceError):
            return cls(path=path, error=str(error), code=error.code)
        return cls(path=path, error=error.strerror or str(error), code="local_file")


Tell = Callable[[Result | Failure], None]
