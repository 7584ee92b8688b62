"""What a Range header asks for (RFC 9110 §14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.ranges import MAX_RANGES, ByteRange, parse_ranges, unsatisfied_content_range
from drs_service.errors import RangeNotSatisfiable


def spans(header: str, size: int) -> list[tuple[int, int]] | None:
    ranges = parse_ranges(header, size)
    return None if ranges is None else [(span.start, span.end) for span in ranges]


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-", (500, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-500", (500, 1000)),
        ("bytes=0-", (0, 1000)),
        ("bytes=999-999", (999, 1000)),
        ("bytes=999-2000", (999, 1000)),
        ("bytes=-1000", (0, 1000)),
        ("bytes=-1001", (0, 1000)),
        ("bytes=007-0009", (7, 10)),
    ],
)
def test_a_range_is_cut_to_the_representation(header: str, span: tuple[int, int]) -> None:
    assert spans(header, 1000) == [span]


@pytest.mark.parametrize("header", [None, "", "lines=0-1", "bytes", "none=0-1", "=0-1", "bytes 0-1", "bytes =0-1"])
def test_no_header_and_another_unit_ask_for_everything(header: str | None) -> None:
    assert parse_ranges(header, 1000) is None


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            ",",
            " , ",
            "-",
            "5",
            "a-b",
            "5-2",
            "--1",
            "1--2",
            "+1-2",
            "0x1-2",
            "1 -2",
            "1- 2",
            "- 5",
            "0-1;",
            "=0-1",
        ),
        *("0-1 2-3", "1_0-20", "\u0661-\u0662", "0-1\n", "0-1,x", "0-1,5-2", "5-2,0-1", "2000-,5-2", "0-1,-"),
    ],
)
def test_an_invalid_set_asks_for_everything(value: str) -> None:
    assert parse_ranges(f"bytes={value}", 1000) is None


@pytest.mark.parametrize("unit", ["bytes", "Bytes", "BYTES"])
def test_the_unit_is_read_in_either_case(unit: str) -> None:
    assert spans(f"{unit}=0-1", 1000) == [(0, 2)]


@pytest.mark.parametrize("value", ["0-1,500-501", " 0-1 ,\t500-501 ", ",0-1,,500-501,", ", ,0-1 , , 500-501, \t,"])
def test_white_space_and_empty_elements_around_commas_are_skipped(value: str) -> None:
    assert spans(f"bytes={value}", 1000) == [(0, 2), (500, 502)]


@pytest.mark.parametrize("value", ["1000-", "1000-1001", "5000-6000", "1000-,2000-3000", "-0,1000-"])
def test_ranges_past_the_end_are_not_satisfiable(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(f"bytes={value}", 1000)


@pytest.mark.parametrize("value", ["-0", "-000"])
def test_a_suffix_of_zero_is_not_satisfiable(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(f"bytes={value}", 1000)


@pytest.mark.parametrize("value", ["0-", "0-0", "-1", "-0"])
def test_no_range_of_an_empty_representation_is_satisfiable(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(f"bytes={value}", 0)


def test_the_refusal_tells_the_size() -> None:
    with pytest.raises(RangeNotSatisfiable) as past_the_end:
        parse_ranges("bytes=1000-", 1000)
    with pytest.raises(RangeNotSatisfiable) as too_many:
        parse_ranges("bytes=" + "0-1," * (MAX_RANGES + 1), 1000)
    assert past_the_end.value.facts == too_many.value.facts == {"size": 1000}


def test_unsatisfiable_ranges_among_others_are_dropped() -> None:
    assert spans("bytes=1000-,0-1,-0,5000-6000", 1000) == [(0, 2)]


def test_ranges_far_apart_come_in_the_order_of_the_request() -> None:
    assert spans("bytes=800-809,0-9,400-409", 1000) == [(800, 810), (0, 10), (400, 410)]


@pytest.mark.parametrize(
    ("value", "merged"),
    [
        ("0-9,5-14", [(0, 15)]),
        ("0-9,10-19", [(0, 20)]),
        ("0-9,0-9", [(0, 10)]),
        ("0-99,10-19", [(0, 100)]),
        ("0-9,89-99", [(0, 100)]),
        ("900-,0-9,5-14", [(0, 15), (900, 1000)]),
        ("-10,500-509,0-499", [(0, 510), (990, 1000)]),
    ],
)
def test_ranges_that_touch_are_merged_and_sorted(value: str, merged: list[tuple[int, int]]) -> None:
    assert spans(f"bytes={value}", 1000) == merged


def test_a_gap_as_large_as_a_part_s_overhead_is_kept() -> None:
    assert spans("bytes=90-99,0-9", 1000) == [(90, 100), (0, 10)]
    assert spans("bytes=90-99,0-9,0-9", 1000) == [(0, 10), (90, 100)]


def test_as_many_ranges_as_allowed_are_served_and_one_more_is_refused() -> None:
    allowed = [f"{start}-{start}" for start in range(0, MAX_RANGES * 1000, 1000)]
    ranges = parse_ranges("bytes=" + ",".join(allowed), 10**6)
    assert ranges is not None
    assert len(ranges) == MAX_RANGES
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges("bytes=" + ",".join([*allowed, "900000-"]), 10**6)


@pytest.mark.parametrize("digits", [20, 21, 31, 4300, 4301, 5000, 60_000])
def test_huge_numbers_lie_past_the_end(digits: int) -> None:
    huge = "9" * digits
    assert spans(f"bytes=1-{huge}", 1000) == [(1, 1000)]
    assert spans(f"bytes=-{huge}", 1000) == [(0, 1000)]
    assert spans(f"bytes={'0' * digits}1-2", 1000) == [(1, 3)]
    assert spans(f"bytes={huge}-5", 1000) is None
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(f"bytes={huge}-", 1000)


def test_content_range_counts_the_last_byte() -> None:
    assert ByteRange(0, 10).content_range(100) == "bytes 0-9/100"
    assert ByteRange(99, 100).content_range(100) == "bytes 99-99/100"
    assert unsatisfied_content_range(100) == "bytes */100"


@pytest.mark.parametrize("span", [ByteRange(0, 0), ByteRange(5, 5), ByteRange(0, 11)])
def test_content_range_says_nothing_of_no_bytes_and_of_bytes_that_are_not_there(span: ByteRange) -> None:
    with pytest.raises(ValueError, match="cannot be a part"):
        span.content_range(10)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 4)])
def test_a_range_does_not_run_backwards(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        ByteRange(start, end)


def test_a_range_may_be_empty() -> None:
    assert ByteRange(3, 3).length == 0


first_last = st.tuples(st.integers(0, 1200), st.none() | st.integers(0, 1200))
elements = st.one_of(
    first_last.map(lambda spec: f"{spec[0]}-{'' if spec[1] is None else max(spec)}"),  # type: ignore[type-var]
    st.integers(0, 1200).map(lambda suffix: f"-{suffix}"),
)


def bytes_of(element: str, size: int) -> set[int]:
    first, last = element.split("-")
    if not first:
        return set(range(max(0, size - int(last)), size))
    return set(range(int(first), min(size, int(last) + 1 if last else size)))


@given(st.lists(elements, min_size=1, max_size=6), st.integers(0, 1000))
def test_every_byte_asked_for_is_sent_once_and_no_large_gap_with_it(asked: list[str], size: int) -> None:
    wanted = set[int]().union(*(bytes_of(element, size) for element in asked))
    try:
        ranges = parse_ranges("bytes=" + ",".join(asked), size)
    except RangeNotSatisfiable:
        assert not wanted
        return
    assert ranges is not None
    sent = [byte for span in ranges for byte in range(span.start, span.end)]
    assert len(sent) == len(set(sent))
    assert wanted <= set(sent)
    assert len(sent) - len(wanted) < 80 * len(asked)
    assert all(0 <= span.start < span.end <= size for span in ranges)


@given(st.text(alphabet="bytes=0123456789-, \tx", max_size=40), st.integers(0, 1000))
def test_whatever_is_asked_the_answer_is_ranges_everything_or_416(header: str, size: int) -> None:
    try:
        ranges = parse_ranges(header, size)
    except RangeNotSatisfiable:
        return
    assert ranges is None or all(span.content_range(size) for span in ranges)
