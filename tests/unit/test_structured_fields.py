"""Structured fields (RFC 9651): what is an item of the type that is wanted, and what is not there at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.structured_fields import boolean, dictionary, integer

PARAMETERS = ["", ";a", ";a=1; b=?0", ';a="x;y";*b=tok/en', ";a=:aGk=:", ";a=@1659578233", ';a=%"f%c3%bc"']


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_an_item_is_read_whatever_its_parameters_say(parameters: str) -> None:
    assert boolean(f"?1{parameters}") is True
    assert boolean(f"  ?0{parameters} ") is False
    assert integer(f"42{parameters}") == 42


@pytest.mark.parametrize(
    "field", ["", "1", "?", "?2", "?1, ?1", "?1 ?1", "?1;", "?1;A", "?1 ;a", "true", '"?1"', "?1\t"]
)
def test_what_is_no_boolean_is_none(field: str) -> None:
    assert boolean(field) is None


@pytest.mark.parametrize(
    "field", ["", "1.0", "+1", "1,1", "1 1", "0x1", "1_0", "\u0661", "?1", "--1", "1;", "1000000000000000", "@1", "a"]
)
def test_what_is_no_integer_is_none(field: str) -> None:
    assert integer(field) is None


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_integer_is_read(number: int) -> None:
    assert integer(str(number)) == number


def test_the_members_of_a_dictionary_are_read_as_written() -> None:
    assert dictionary('max-size=1, a;b=2,\tc=("x" y);d, e=@1, f=%"%c3%bc"') == {
        "max-size": "1",
        "a": None,
        "c": '("x" y)',
        "e": "@1",
        "f": '%"%c3%bc"',
    }
    assert dictionary("") == {}


@pytest.mark.parametrize("field", ["A=1", "a=1,", "a=1;", "a 1", "a=1 b=2", 'f=%"%C3"', "e=@1.5"])
def test_what_is_no_dictionary_is_none(field: str) -> None:
    assert dictionary(field) is None
