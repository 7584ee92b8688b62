"""What of an archive is sent at once."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from itertools import accumulate, pairwise

import pytest

from drs_service.usecases.archives import SMALL, joined


async def pieces(content: bytes, sizes: Sequence[int]) -> AsyncGenerator[bytes, None]:
    for start, end in pairwise([0, *accumulate(sizes)]):
        yield content[start:end]


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [SMALL],
        [SMALL + 1],
        [100] * 5000,
        [SMALL - 1, 1, 1] * 5,
        [50, 2_000_000, 16, 50, 0, 16, 50, 300_000, 16],
    ],
)
async def test_small_pieces_are_joined_and_none_is_kept_for_long(sizes: list[int]) -> None:
    content = secrets.token_bytes(sum(sizes))
    sent = [bytes(piece) async for piece in joined(pieces(content, sizes))]
    assert b"".join(sent) == content
    assert all(0 < len(piece) <= max(2 * SMALL, *sizes, 0) for piece in sent)
    # Two neighbours that would both be small have been made one.
    assert not any(len(one) + len(other) <= SMALL for one, other in pairwise(sent))
