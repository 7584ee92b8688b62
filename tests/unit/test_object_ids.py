"""Object ids and DRS URIs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.object_ids import RESERVED, is_object_id, new_object_id, self_uri

times = st.integers(0, 2**48 - 1)
randoms = st.binary(min_size=10, max_size=10)


@pytest.mark.parametrize("text", ["a", "0", "A.b_c~d-e", "...", ".a", "-", "~", "x" * 128])
def test_unreserved_characters_make_an_id(text: str) -> None:
    assert is_object_id(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "x" * 129, "a/b", "a:b", "a b", "a%20", "a\n", "é", "\u0661", "a?", "a#", "a@b", "a+b", "a[b"],
)
def test_anything_else_is_no_id(text: str) -> None:
    assert not is_object_id(text)


def test_a_new_id_is_a_ulid_in_lower_case() -> None:
    # The example of https://github.com/ulid/spec: the time of 01ARZ3NDEKTSV4RRFFQ69G5FAV.
    assert new_object_id(1469922850259, bytes(10)) == "01arz3ndek0000000000000000"
    assert new_object_id(0, bytes(10)) == "0" * 26
    assert new_object_id(2**48 - 1, b"\xff" * 10) == "7" + "z" * 25
    assert new_object_id(0, (2**79).to_bytes(10)) == "0" * 10 + "g" + "0" * 15


@given(times, randoms)
def test_a_new_id_is_an_id_and_no_reserved_word(milliseconds: int, random: bytes) -> None:
    identifier = new_object_id(milliseconds, random)
    assert is_object_id(identifier)
    assert len(identifier) == 26
    assert identifier not in RESERVED


def test_no_reserved_word_has_the_length_of_a_new_id() -> None:
    assert all(len(word) != 26 for word in RESERVED)


@given(times, randoms, times, randoms)
def test_new_ids_sort_by_time_and_differ_by_time_and_randomness(a: int, x: bytes, b: int, y: bytes) -> None:
    assert (new_object_id(a, x) < new_object_id(b, y)) == ((a, x) < (b, y))
    assert (new_object_id(a, x) == new_object_id(b, y)) == ((a, x) == (b, y))


@pytest.mark.parametrize(
    ("milliseconds", "random"), [(-1, bytes(10)), (2**48, bytes(10)), (0, bytes(9)), (0, bytes(11))]
)
def test_an_id_is_made_of_48_bits_of_time_and_10_random_bytes(milliseconds: int, random: bytes) -> None:
    with pytest.raises(ValueError, match=r"bits|bytes"):
        new_object_id(milliseconds, random)


def test_a_self_uri_names_the_host_and_the_id() -> None:
    assert self_uri("drs.example.org", "01arz3ndek") == "drs://drs.example.org/01arz3ndek"


def test_an_id_of_other_characters_is_percent_encoded() -> None:
    assert self_uri("localhost", "a/b:c é~._-") == "drs://localhost/a%2Fb%3Ac%20%C3%A9~._-"


@pytest.mark.parametrize(
    "hostname", ["", "example.org:443", "[::1]", "example.org/", "u@h", "a b", "a?b", "bücher.example"]
)
def test_a_hostname_has_no_port_and_nothing_beside_it(hostname: str) -> None:
    with pytest.raises(ValueError, match="plain hostname"):
        self_uri(hostname, "a")
