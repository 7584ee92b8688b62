"""What an agent cannot do anything with is said at once."""

import asyncio
from pathlib import Path

import pytest

from drs_service.errors import JoinRefused, SettingsInvalid
from worker.agent import Agent, Credential, run
from worker.dialling import tunnel_url
from worker.target import Address, Target

URL = "http://127.0.0.1:1"
TOKEN = "token"


def target() -> Target:
    return Target(Address("127.0.0.1", 1))


@pytest.mark.parametrize(
    ("service", "token", "refused"),
    [
        ("ftp://drs.example.org", TOKEN, SettingsInvalid),
        ("drs.example.org", TOKEN, SettingsInvalid),
        ("http://127.0.0.1:99999", TOKEN, SettingsInvalid),
        ("http://[::1", TOKEN, SettingsInvalid),
        ("http://me:word@drs.example.org", TOKEN, SettingsInvalid),
        ("http://\udcff", TOKEN, SettingsInvalid),
        (URL, "", JoinRefused),
        (URL, "two\nlines", JoinRefused),
        (URL, "\udcff", JoinRefused),
    ],
)
async def test_what_is_no_service_or_no_token_is_refused(
    service: str, token: str, refused: type[Exception], tmp_path: Path
) -> None:
    asked = run(service, token, target(), state_dir=tmp_path, beside=None, on_linked=lambda: None)
    with pytest.raises(refused):
        await asyncio.wait_for(asked, 5)
    assert list(tmp_path.iterdir()) == []


async def test_an_agent_that_cannot_dial_does_not_go_on(tmp_path: Path) -> None:
    url = "ws://127.0.0.1:99999/tunnel"
    agent = Agent(url, TOKEN, Credential(tmp_path, url, TOKEN), target())
    with pytest.raises(SettingsInvalid, match="Port out of range"):
        await asyncio.wait_for(agent.run(on_linked=lambda: None), 5)


async def test_an_agent_that_could_not_say_that_it_ends_knows_so(tmp_path: Path) -> None:
    url = tunnel_url(URL)
    agent = Agent(url, TOKEN, Credential(tmp_path, url, TOKEN), target())
    running = asyncio.create_task(agent.run(on_linked=lambda: None))
    await asyncio.sleep(0)
    await agent.leave()
    assert await asyncio.wait_for(running, 5) == ""


def test_a_service_is_the_same_with_a_slash(tmp_path: Path) -> None:
    """Its agent, started again, shows what it showed before."""
    one, same = (Credential(tmp_path, tunnel_url(url), TOKEN) for url in (URL, f"{URL}/"))
    assert one.text == same.text
