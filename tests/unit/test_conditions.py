"""Conditional requests (RFC 9110 §13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.conditions import Verdict, evaluate, if_match_holds, if_none_match_holds, if_range_holds
from drs_service.errors import PreconditionFailed

ETAG = '"sha-256:2cf24d"'

LISTS_WITH_OURS = [
    ETAG,
    f" {ETAG}\t",
    f'"other", {ETAG}',
    f'{ETAG},"other"',
    f', ,"other" ,\t{ETAG} ,,',
    f'W/"other", {ETAG}',
    f'"", {ETAG}',
    f'"a,b", {ETAG}',
    f'"W/", {ETAG}',
    f'"caf\xe9", {ETAG}',
]
LISTS_WITHOUT_OURS = ['"other"', '"a", "b"', '"sha-256:2cf24d "', '"SHA-256:2CF24D"', '"', '""', '"a,b"']
MALFORMED = [
    "",
    " ",
    ",",
    ETAG.strip('"'),
    ETAG[:-1],
    ETAG[1:],
    f"w/{ETAG}",
    f"W/ {ETAG}",
    f"{ETAG} {ETAG}",
    f"{ETAG}; {ETAG}",
    f"*, {ETAG}",
    f"{ETAG}, *",
    f"{ETAG}, other",
    f'"a b", {ETAG}',
    f'"a\\"b", {ETAG}',
    f"{ETAG}\n",
    "**",
    "Tue, 15 Nov 1994 12:45:26 GMT",
]
WEAK = [f"W/{ETAG}", f'"other", W/{ETAG}']


@pytest.mark.parametrize("header", [None, "*", " * ", *LISTS_WITH_OURS])
def test_if_match_holds_when_absent_for_any_and_for_our_tag(header: str | None) -> None:
    assert if_match_holds(header, ETAG)


@pytest.mark.parametrize("header", [*LISTS_WITHOUT_OURS, *MALFORMED])
def test_if_match_fails_for_other_tags_and_for_what_cannot_be_read(header: str) -> None:
    assert not if_match_holds(header, ETAG)


@pytest.mark.parametrize("header", WEAK)
def test_if_match_compares_strongly(header: str) -> None:
    assert not if_match_holds(header, ETAG)


@pytest.mark.parametrize("header", [None, *LISTS_WITHOUT_OURS, *MALFORMED])
def test_if_none_match_holds_when_absent_for_other_tags_and_for_what_cannot_be_read(header: str | None) -> None:
    assert if_none_match_holds(header, ETAG)


@pytest.mark.parametrize("header", ["*", "\t*", *LISTS_WITH_OURS])
def test_if_none_match_fails_for_any_and_for_our_tag(header: str) -> None:
    assert not if_none_match_holds(header, ETAG)


@pytest.mark.parametrize("header", WEAK)
def test_if_none_match_compares_weakly(header: str) -> None:
    assert not if_none_match_holds(header, ETAG)


def test_a_tag_inside_another_tag_is_not_listed() -> None:
    assert if_none_match_holds('"x,W/", "y"', '", "')
    assert if_none_match_holds('"a,b"', '"b"')
    assert not if_none_match_holds('"a,b"', '"a,b"')


@pytest.mark.parametrize("header", [None, ETAG, f" {ETAG} "])
def test_a_range_is_honoured_without_if_range_and_with_our_tag(header: str | None) -> None:
    assert if_range_holds(header, ETAG)


@pytest.mark.parametrize("header", [*WEAK, *LISTS_WITHOUT_OURS, *MALFORMED, "*", f'{ETAG}, "other"'])
def test_a_range_is_not_honoured_for_a_weak_tag_another_tag_a_list_or_a_date(header: str) -> None:
    assert not if_range_holds(header, ETAG)


def test_without_conditions_the_request_proceeds() -> None:
    assert evaluate(ETAG) is Verdict.PROCEED


def test_what_the_client_has_is_not_sent_again() -> None:
    assert evaluate(ETAG, if_none_match=ETAG) is Verdict.NOT_MODIFIED
    assert evaluate(ETAG, if_none_match='"other"') is Verdict.PROCEED


def test_a_failed_if_match_is_refused_whatever_if_none_match_says() -> None:
    for if_none_match in (None, ETAG, '"other"', "*"):
        with pytest.raises(PreconditionFailed):
            evaluate(ETAG, if_match='"other"', if_none_match=if_none_match)


def test_if_none_match_is_asked_after_if_match_holds() -> None:
    assert evaluate(ETAG, if_match=ETAG, if_none_match=ETAG) is Verdict.NOT_MODIFIED
    assert evaluate(ETAG, if_match="*", if_none_match='"other"') is Verdict.PROCEED


opaque = st.text(alphabet=[chr(c) for c in (0x21, *range(0x23, 0x7F), *range(0x80, 0x100))], max_size=8)
tags = st.tuples(st.booleans(), opaque)
separators = st.sampled_from([",", ", ", " ,", " , ,\t"])


@given(st.lists(tags, min_size=1, max_size=5), separators, opaque)
def test_every_list_of_tags_is_read_as_it_was_written(listed: list[tuple[bool, str]], comma: str, ours: str) -> None:
    header = comma.join(f'W/"{tag}"' if weak else f'"{tag}"' for weak, tag in listed)
    assert if_match_holds(header, f'"{ours}"') == ((False, ours) in listed)
    assert if_none_match_holds(header, f'"{ours}"') == (ours not in [tag for _, tag in listed])


@pytest.mark.parametrize(
    "header", ['"' * 60_000, ", " * 30_000, '"a" ' * 15_000, '"a",' * 15_000 + "x", 'W/""' * 15_000]
)
def test_a_long_malformed_header_is_read_in_one_pass(header: str) -> None:
    assert not if_match_holds(header, ETAG)
