"""How much may come in, as values: no clock but the one that is passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.limits import Holding, Limits, TokenBucket


def test_the_nearest_limit_is_the_one_that_counts() -> None:
    holding = Holding(of_owner=60, of_space=70, uploads=0)
    assert holding.room(Limits()) is None
    assert holding.room(Limits(bytes_of_owner=100)) == 40
    assert holding.room(Limits(bytes_of_space=100)) == 30
    assert holding.room(Limits(bytes_of_owner=100, bytes_of_space=100)) == 30
    assert holding.room(Limits(bytes_of_owner=50, bytes_of_space=100)) == -10


def test_a_full_bucket_gives_all_at_once_and_then_as_fast_as_it_fills() -> None:
    bucket = TokenBucket.full(3, rate=0.5, now=100)
    for _ in range(3):
        assert bucket.wait(1, now=100) == 0
        bucket = bucket.taken(1, now=100)
    assert bucket.wait(1, now=100) == 2
    assert bucket.wait(1, now=101) == 1
    assert bucket.wait(1, now=102) == 0


def test_who_takes_more_than_there_is_waits_for_the_rest() -> None:
    bucket = TokenBucket.full(10, rate=10, now=0).taken(30, now=0)
    assert bucket.wait(0, now=0) == 2
    assert bucket.wait(0, now=1.5) == 0.5


def test_a_bucket_is_never_fuller_than_full() -> None:
    bucket = TokenBucket.full(2, rate=1, now=0).taken(1, now=1000).taken(0, now=9000)
    assert bucket.wait(3, now=9000) == 1


@given(
    st.floats(1, 1000),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5000)), max_size=30),
)
def test_who_waits_as_told_is_as_fast_as_the_rate_and_no_faster(rate: float, steps: list[tuple[float, float]]) -> None:
    now, sent = 0.0, 0.0
    bucket = TokenBucket.full(rate, rate=rate, now=now)
    for pause, amount in steps:
        now += pause
        bucket = bucket.taken(amount, now=now)
        sent += amount
        now += bucket.wait(0, now=now)
        assert sent <= rate + rate * now + 1e-3 * max(1.0, sent)
    assert bucket.wait(0, now=now) == pytest.approx(0, abs=1e-6)
