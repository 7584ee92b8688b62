"""The states of a session, and what is known of it."""

import re

import pytest

from drs_service.domain.sessions import LIVE, NEXT, State, before, hashed, is_session_id, new_session_id


def test_every_live_session_can_end_and_none_comes_back() -> None:
    assert set(NEXT) == set(State)
    assert NEXT[State.ENDED] == frozenset()
    assert before(State.ENDED) == LIVE
    assert before(State.CREATED) == frozenset()
    assert NEXT[State.STOPPING] == {State.ENDED}


def test_a_session_that_nobody_joined_has_nobody_to_be_told_to_stop() -> None:
    assert before(State.STOPPING) == {State.CONNECTED, State.IDLE}
    assert before(State.IDLE) == {State.CONNECTED}
    assert before(State.CONNECTED) == {State.CREATED, State.IDLE}


@pytest.mark.parametrize("random", [bytes(10), b"\xff" * 10, bytes(range(10))])
def test_an_id_fits_wherever_it_is_put(random: bytes) -> None:
    made = new_session_id(random)
    assert re.fullmatch("[0-9a-z]{16}", made) and is_session_id(made)


def test_no_two_randoms_make_the_same_id() -> None:
    assert len({new_session_id(bytes([*bytes(place), 1, *bytes(9 - place)])) for place in range(10)}) == 10


@pytest.mark.parametrize("text", ["", "a" * 15, "a" * 17, "A" * 16, "a" * 15 + "\n", "a" * 15 + "-", "ä" * 16])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_session_id(text)


def test_whatever_is_shown_as_a_secret_can_be_looked_up() -> None:
    assert {len(hashed(text)) for text in ("", "a", "ä", "\0", "\ud800")} == {32}
