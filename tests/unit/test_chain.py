"""What the mark of an upload says of the objects that hold its bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.blobs.bucket import Source
from drs_service.blobs.chain import Chain, Segment, crowd, new_name
from drs_service.blobs.s3 import COPY_SIZE, LEAST_PART, MOST_COPIED, MOST_PARTS
from drs_service.blobs.spans import spans

MIB = 1024**2
TIB = 1024**4
S3 = {"size": COPY_SIZE, "most": MOST_PARTS}
NAMES = st.integers(0, 9).map(new_name)
CHAINS = st.builds(
    Chain,
    st.lists(st.builds(Segment, NAMES, st.integers(1, 5 * TIB))).map(tuple),
    st.lists(NAMES).map(tuple),
)


@given(chain=CHAINS)
def test_notes_say_all_of_a_chain(chain: Chain) -> None:
    assert Chain.parse(chain.notes) == chain


@pytest.mark.parametrize("notes", ["x", "0abc", "abc:5", "0abc:-5", "0abc:5:5", "0a/b:5"])
def test_notes_that_nobody_wrote_are_refused(notes: str) -> None:
    with pytest.raises(ValueError, match="is no segment"):
        Chain.parse(notes)


def test_however_many_requests_bring_5_tib_the_notes_stay_short() -> None:
    segments: list[Segment] = []
    copied = 0
    for _ in range(5 * TIB // (8 * MIB)):
        segments.append(Segment(new_name(0), 8 * MIB))
        while count := crowd(segments, 32):
            joined = Segment(new_name(segments[-1].tier + 1), sum(one.size for one in segments[-count:]))
            segments[-count:] = [joined]
            copied += joined.size
        assert len(segments) <= 4 * 31
    assert copied <= 4 * 5 * TIB
    assert len(Chain(tuple(segments)).notes) < 4000
    assert len(list(spans([Source(one.name, one.size) for one in segments], **S3))) <= MOST_PARTS


@given(sizes=st.lists(st.one_of(st.integers(LEAST_PART, 64 * MIB), st.integers(1, TIB // 2)), min_size=1, max_size=10))
def test_what_is_copied_by_several_requests_is_copied_whole(sizes: list[int]) -> None:
    sizes = [max(size, LEAST_PART) for size in sizes]
    pieces = list(spans([Source(str(number), size) for number, size in enumerate(sizes)], **S3))
    assert len(pieces) <= MOST_PARTS
    assert all(LEAST_PART <= end - start <= MOST_COPIED for _, start, end in pieces)
    for number, size in enumerate(sizes):
        own = [(start, end) for name, start, end in pieces if name == str(number)]
        assert (own[0][0], own[-1][1]) == (0, size)
        assert all(end == start for (_, end), (start, _) in pairwise(own))
    assert COPY_SIZE <= MOST_COPIED
