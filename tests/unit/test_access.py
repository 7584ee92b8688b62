"""One function decides who may do what."""

import pytest

from drs_service.domain.access import ANONYMOUS, DEFAULT_SPACE, Action, Principal, may


@pytest.mark.parametrize("action", Action)
def test_until_there_are_identities_everybody_may_do_everything(action: Action) -> None:
    assert may(ANONYMOUS, action, space=DEFAULT_SPACE)


@pytest.mark.parametrize("action", Action)
def test_nobody_may_do_anything_in_a_space_that_is_not_there(action: Action) -> None:
    assert not may(ANONYMOUS, action, space="elsewhere")


@pytest.mark.parametrize("action", Action)
def test_a_principal_that_nothing_is_known_of_may_do_nothing(action: Action) -> None:
    assert not may(Principal("mallory"), action, space=DEFAULT_SPACE)
