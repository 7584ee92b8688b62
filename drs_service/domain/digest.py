"""The one name a blob has: the SHA-256 of its bytes."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

SIZE = 32  # bytes


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest."""

    raw: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        if len(self.raw) != SIZE:
            raise ValueError(f"a SHA-256 digest has {SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read 64 hexadecimal digits of either case; ValueError for anything else."""
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            raise ValueError("a SHA-256 digest is written as 64 hexadecimal digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """Read standard base64 with padding, as RFC 9530 carries digests; ValueError for anything else."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError("not base64") from error

    @property
    def hex(self) -> str:
        return self.raw.hex()

    @property
    def base64(self) -> str:
        return base64.b64encode(self.raw).decode("ascii")

    def __str__(self) -> str:
        return f"sha-256:{self.hex}"
