"""RFC 6750: a secret in `Authorization: Bearer …`, which pages of other origins cannot make a browser send."""

import re
from collections.abc import Iterable

from drs_service.api.bodies import AnyRequest

SECURITY = [{"bearer": list[str]()}]
"""What the document says of operations that want one."""

# RFC 6750 2.1; the scheme is case-insensitive (RFC 9110 11.1).
_CREDENTIALS = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
MAX_SECRET = 512


def bearer_of(request: AnyRequest) -> str | None:
    """The secret; None if there is none, or anything else."""
    return bearer_in(value for name, value in request.scope["headers"] if name == b"authorization")


def bearer_in(values: Iterable[bytes]) -> str | None:
    """The same, of all fields of that name: two of them mean nothing."""
    said = list(values)
    found = _CREDENTIALS.fullmatch(said[0]) if len(said) == 1 else None
    return found[1].decode("ascii") if found is not None and len(found[1]) <= MAX_SECRET else None
