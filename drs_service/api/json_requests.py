"""JSON as clients send it. Whatever comes, it is read as one value that means the same to everybody, or refused."""

import json
from typing import Any, TypeVar

import msgspec
from litestar import Request

from drs_service.errors import Rejected, TooMany

# Bundles within bundles take two levels each; beyond this no request of ours goes, and no recursion has to.
MAX_NESTING = 256
# What separates values: memory and time go by their number, not by the bytes. A bundle of 100,000 members has 400,000.
MAX_VALUES = 1_000_000

Shape = TypeVar("Shape")


class JsonRequest(Request[Any, Any, Any]):
    """A request whose JSON body is read by our own rules."""

    async def json(self) -> Any:
        """Rejected if the body is not JSON, or not such that every reader takes it for the same."""
        body = await self.body()
        return decoded(body) if body else None


async def strictly(request: Request[Any, Any, Any], shape: type[Shape]) -> Shape:
    """The body, whose members are of the types that they should be. Rejected: the framework would take "1" for 1."""
    try:
        return msgspec.convert(await request.json(), shape)
    except msgspec.ValidationError as error:
        raise Rejected(f"The request is not valid: {error}") from error


def decoded(body: bytes) -> Any:
    """The value that body is the JSON of. Rejected."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise TooMany(f"The body has more than {MAX_VALUES} values.")
    try:
        value = msgspec.json.decode(body)
        # RFC 8259 4: of names that come twice some readers take the first and some the last, and what one has
        # checked another would do. The fast decoder does not tell of them.
        json.loads(body, object_pairs_hook=check_names, parse_int=str, parse_float=str)
    except RecursionError as error:
        raise too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(f"The body is not JSON: {error}") from error
    check_nesting(value)
    return value


def check_names(members: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in members}
    if len(names) < len(members):
        raise Rejected("The body names a member of a JSON object twice: which of the two is meant?")


def check_nesting(value: Any) -> None:
    """Level by level, for one call within another is what must not go too deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_NESTING):
        if not level:
            return
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in inner for one in some if isinstance(one, dict | list)]
    if level:
        raise too_deep()


def too_deep() -> Rejected:
    return Rejected(f"The body is nested more than {MAX_NESTING} deep.")
