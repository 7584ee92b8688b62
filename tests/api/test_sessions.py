"""`/sessions`: whoever shows the secret of one may do everything with it, and nobody else learns that it is there."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from drs_service.db.pool import Database, open_database
from drs_service.domain.sessions import hashed
from drs_service.settings import Settings
from drs_service.usecases.tunnels import Held, Tunnels
from tests.api.schemas import assert_refused
from tests.api.traces import query
from tests.support.deadline import until
from tests.support.raw_http import asked, request
from tests.support.server import Service, running
from tests.support.sessions import new_credential, tunnels_on

Json = dict[str, Any]


async def create(client: httpx.AsyncClient, **said: object) -> Json:
    answer = await client.post("/sessions", json=said)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def bearer(made: Json) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['secret']}"}


def path(made: Json, below: str = "") -> str:
    return f"/sessions/{made['session']['id']}{below}"


def visited(link: Json) -> str:
    """The path and query of a link."""
    url = urlsplit(link["url"])
    assert (url.scheme, url.netloc) == ("https", "drs.example.org")
    return f"{url.path}?{url.query}"


def seconds(one: str, two: str) -> float:
    return (datetime.fromisoformat(two) - datetime.fromisoformat(one)).total_seconds()


@pytest_asyncio.fixture(loop_scope="session")
async def database(shared_database_url: str) -> AsyncIterator[Database]:
    async with open_database(shared_database_url, name="test", size=2, statement_cache=0) as database:
        yield database


@pytest.fixture
def tunnels(database: Database) -> Tunnels:
    """As another node has them."""
    return tunnels_on(database)


async def joined(tunnels: Tunnels, made: Json) -> Held:
    """The tunnel of the session, at a node that lives."""
    node = await tunnels.enlist("127.0.0.1:9000")
    return await tunnels.attach(node, new_credential(), made["join_token"])


async def test_a_session_is_created_shown_and_stopped(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sessions", json={})
    made = answer.json()
    session = made["session"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"https://drs.example.org{path(made)}"
    assert session["url"] == f"https://drs.example.org/socket/{session['id']}"
    assert (session["state"], session["tunnel"], session["running"]) == ("created", {"connected": False}, 0)
    assert [one["state"] for one in session["history"]] == ["created"]
    assert seconds(session["created_at"], session["expires_at"]) == 86_400
    assert seconds(session["created_at"], session["join_by"]) == 3600
    assert 590 < seconds(session["created_at"], made["link"]["expires_at"]) < 610
    assert len({made["secret"], made["join_token"], made["link"]["url"], session["id"]}) == 4
    assert (await client.get(path(made), headers=bearer(made))).json() == session
    for _ in range(2):
        stopped = await client.delete(path(made), headers=bearer(made))
        assert (stopped.status_code, stopped.json()["state"], stopped.json()["reason"]) == (202, "ended", "stopped")
    after = (await client.get(path(made), headers=bearer(made))).json()
    assert after == stopped.json()
    assert [one["state"] for one in after["history"]] == ["created", "ended"]
    assert after["ended_at"] == after["history"][1]["at"]


async def test_a_session_is_as_it_was_asked_for(client: httpx.AsyncClient) -> None:
    said = {"name": "Analyse ü", "target": "http://127.0.0.1:8888", "max_seconds": 60, "idle_seconds": 5}
    session = (await create(client, **said))["session"]
    assert {name: session[name] for name in ("name", "target", "idle_seconds")} == {
        name: said[name] for name in ("name", "target", "idle_seconds")
    }
    assert seconds(session["created_at"], session["expires_at"]) == 60
    assert seconds(session["created_at"], session["join_by"]) == 60


@pytest.mark.parametrize(
    "said",
    [
        {"max_seconds": 0},
        {"max_seconds": 604_801},
        {"idle_seconds": -1},
        {"idle_seconds": 10**12},
        {"max_seconds": "60"},
        {"max_seconds": 1.5},
        {"name": ""},
        {"name": "x" * 256},
        {"target": "\0"},
        {"target": 1},
        [],
    ],
)
async def test_what_no_session_can_be_is_refused(client: httpx.AsyncClient, said: object) -> None:
    answer = await client.post("/sessions", json=said)
    assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert answer.json()["code"] in {"bad_request", "text_invalid"}


async def test_a_stranger_finds_nothing_anywhere(client: httpx.AsyncClient, service: Service) -> None:
    made, other, ended = await create(client), await create(client), await create(client)
    await client.delete(path(ended), headers=bearer(ended))
    secret = made["secret"]
    shown = [
        None,
        bearer(other)["Authorization"],
        f"Bearer {made['join_token']}",
        f"Bearer {secret[:-1]}",
        f"Bearer {secret}x",
        f"Bearer {hashed(secret).hex()}",
        f"Basic {secret}",
        f"Bearer {secret}, Bearer {secret}",
        f"Bearer\t{secret}",
        f'Bearer "{secret}"',
        "Bearer",
        secret,
    ]
    bodies = set()
    for of in (made, ended, {"session": {"id": "0" * 16}}, {"session": {"id": "a%00b"}}):
        for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("POST", "/links")):
            for value in shown if of is not ended else shown[:3]:
                headers = [f"Authorization: {value}"] if value is not None else []
                raw = request(method, path(of, below), "Content-Length: 0", *headers)
                answer = await asked(service, raw)
                assert_refused(answer, 404, "session_not_found")
                bodies.add((answer.body, tuple(sorted({*answer.headers} - {"date"}))))
    twice = [f"Authorization: Bearer {secret}"] * 2
    assert_refused(await asked(service, request("GET", path(made), *twice)), 404, "session_not_found")
    assert len(bodies) == 1
    assert (await client.get(path(made), headers=bearer(made))).json() == made["session"]
    assert (await client.get(path(made), headers={"authorization": f"bearer  {secret}"})).status_code == 200


STRANGE, ABSENT = (404, "session_not_found"), (503, "tunnel_absent")


async def drive(client: httpx.AsyncClient, entered: httpx.Response) -> tuple[int, str]:
    """What who has followed a link is told of the workspace, of which no agent has come."""
    pair = entered.headers["set-cookie"].partition(";")[0]
    answer = await client.get(urlsplit(entered.headers["location"]).path, headers={"Cookie": pair})
    return answer.status_code, answer.json()["code"]


async def test_a_link_opens_the_session_once(client: httpx.AsyncClient, service: Service) -> None:
    made = await create(client)
    link = visited(made["link"])
    for headers in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}):
        assert_refused(await client.get(link, headers=headers), 404, "session_not_found")
    assert (await client.head(link)).status_code == 405
    wrong = ["", "?code=", "?code=x", f"?code={made['secret']}", f"?code={made['join_token']}", f"?x={link[-43:]}"]
    for code in wrong[1:-1]:
        assert_refused(await client.get(path(made, f"/enter{code}")), 404, "session_not_found")
    for code in (wrong[0], wrong[-1]):
        assert_refused(await client.get(path(made, f"/enter{code}")), 400, "bad_request")
    other = await create(client)
    assert_refused(
        await client.get(link.replace(made["session"]["id"], other["session"]["id"])), 404, "session_not_found"
    )
    # Who only looks where it leads, as a chat does for a preview, comes no further and uses nothing up.
    looked = await client.get(link)
    assert looked.status_code == 303
    assert_refused(await client.get(urlsplit(looked.headers["location"]).path), 404, "session_not_found")
    browsers = [await client.get(link) for _ in range(3)]
    drivers = await asyncio.gather(*(drive(client, one) for one in browsers * 2))
    [entered] = [browser for browser, told in zip(browsers, drivers, strict=False) if told == ABSENT]
    assert sorted(drivers) == [STRANGE] * 4 + [ABSENT] * 2
    for late in (looked, *browsers):
        assert await drive(client, late) == (ABSENT if late is entered else STRANGE)
    assert_refused(await client.get(link), 404, "session_not_found")
    session_id = made["session"]["id"]
    assert entered.headers["location"] == f"https://drs.example.org/socket/{session_id}/"
    assert (entered.headers["cache-control"], entered.headers["referrer-policy"]) == ("no-store", "no-referrer")
    pair, *attributes = entered.headers["set-cookie"].split("; ")
    assert attributes == [f"Path=/socket/{session_id}", "HttpOnly", "SameSite=Lax", "Secure"]
    name, value = pair.split("=", 1)
    assert name == f"drs_session_{session_id}"
    [kept] = await query(service.settings, "SELECT kind, expires_at FROM session_keys WHERE hash = $1", hashed(value))
    assert kept["kind"] == "cookie" and kept["expires_at"] == datetime.fromisoformat(made["session"]["expires_at"])
    # It drives the workspace, and manages nothing.
    assert_refused(await client.get(path(made), headers={"Authorization": f"Bearer {value}"}), 404, "session_not_found")
    assert_refused(await client.get(path(made), headers={"Cookie": pair}), 404, "session_not_found")


async def test_links_are_made_anew_and_end_with_their_time_and_their_session(
    client: httpx.AsyncClient, service: Service, tunnels: Tunnels
) -> None:
    made = await create(client)
    answer = await client.post(path(made, "/links"), headers=bearer(made))
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    for link in (answer.json(), made["link"]):
        assert await drive(client, await client.get(visited(link))) == ABSENT
    late, left = [(await client.post(path(made, "/links"), headers=bearer(made))).json() for _ in range(2)]
    await query(
        service.settings,
        "UPDATE session_keys SET expires_at = now() WHERE hash = $1",
        hashed(late["url"].rpartition("=")[2]),
    )
    assert_refused(await client.get(visited(late)), 404, "session_not_found")
    # Only so many browsers at once: the first ones are let go of.
    for _ in range(100):
        link = (await client.post(path(made, "/links"), headers=bearer(made))).json()
        assert await drive(client, await client.get(visited(link))) == ABSENT
    where = await tunnels.find(made["session"]["id"])
    assert where is not None and len(where.keys) == 101
    await client.delete(path(made), headers=bearer(made))
    assert_refused(await client.get(visited(left)), 404, "session_not_found")
    assert_refused(await client.post(path(made, "/links"), headers=bearer(made)), 410, "session_ended")


async def test_without_tls_the_cookie_is_no_secure_one(settings: Settings) -> None:
    async with (
        running(replace(settings, public_url="http://localhost/below")) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        made = await create(client)
        assert made["link"]["url"].startswith(f"http://localhost/below{path(made)}/enter?code=")
        entered = await client.get(path(made, "/enter"), params={"code": made["link"]["url"].rpartition("=")[2]})
        assert entered.headers["set-cookie"].split("; ")[1:] == [
            f"Path=/below/socket/{made['session']['id']}",
            "HttpOnly",
            "SameSite=Lax",
        ]


@asynccontextmanager
async def watched(client: httpx.AsyncClient, made: Json, last: str | None = None) -> AsyncIterator[AsyncIterator[Json]]:
    """The events of a session, each with its id, as they come."""
    headers = bearer(made) | ({"Last-Event-ID": last} if last is not None else {})
    async with client.stream("GET", path(made, "/events"), headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        yield events(answer)


async def events(answer: httpx.Response) -> AsyncIterator[Json]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name and name != "retry":
            fields[name] = value
        elif fields:
            assert fields["event"] == "state"
            yield json.loads(fields["data"]) | {"event_id": fields["id"]}
            fields.clear()


async def test_whoever_watches_sees_every_change_at_once(client: httpx.AsyncClient, tunnels: Tunnels) -> None:
    made = await create(client)
    async with asyncio.timeout(5), watched(client, made) as changes:
        first = await anext(changes)
        assert {**made["session"], "event_id": first["event_id"]} == first
        held = await joined(tunnels, made)
        second = await anext(changes)
        assert (second["state"], second["tunnel"]["connected"]) == ("connected", True)
        await tunnels.detach(held, left=False)
        third = await anext(changes)
        assert (third["state"], third["tunnel"]["connected"]) == ("connected", False)
        assert third["tunnel"]["since"] > second["tunnel"]["since"]
        await client.delete(path(made), headers=bearer(made))
        last = await anext(changes)
        assert (last["state"], last["reason"]) == ("ended", "stopped")
        assert [one["state"] for one in last["history"]] == ["created", "connected", "ended"]
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
    # Who comes back with what it saw last is told what is newer, and nothing twice.
    async with asyncio.timeout(5), watched(client, made, third["event_id"]) as changes:
        assert [one async for one in changes] == [last]
    async with asyncio.timeout(5), watched(client, made, last["event_id"]) as changes:
        assert [one async for one in changes] == []


async def test_a_node_that_stops_lets_its_watchers_go(settings: Settings) -> None:
    seen: list[Json] = []

    async def watch(client: httpx.AsyncClient, made: Json) -> None:
        async with watched(client, made) as changes:
            async for one in changes:
                seen.append(one)

    async with asyncio.timeout(10), httpx.AsyncClient(timeout=20) as client:
        async with running(replace(settings, shutdown_grace_seconds=60)) as service:
            client.base_url = httpx.URL(service.url)
            watching = asyncio.create_task(watch(client, await create(client)))
            await until(lambda: len(seen) == 1)
        await watching
    assert len(seen) == 1


async def test_a_workspace_that_is_there_is_told_to_end(client: httpx.AsyncClient, tunnels: Tunnels) -> None:
    made = await create(client)
    held = await joined(tunnels, made)
    stopped = await client.delete(path(made), headers=bearer(made))
    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopping")
    await tunnels.detach(held, left=True)
    shown = (await client.get(path(made), headers=bearer(made))).json()
    assert (shown["state"], shown["reason"]) == ("ended", "stopped")


async def test_sessions_are_listed_without_what_would_open_them(own_client: httpx.AsyncClient) -> None:
    assert (await own_client.get("/sessions")).json() == {"sessions": []}
    made = [await create(own_client, name=f"number {number}") for number in range(5)]
    await own_client.delete(path(made[1]), headers=bearer(made[1]))
    found, token = [], None
    while True:
        answer = await own_client.get("/sessions", params={"page_size": 2} | ({"page_token": token} if token else {}))
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert not any(one["session"]["id"] in answer.text for one in made)
        found += answer.json()["sessions"]
        if (token := answer.json().get("next_page_token")) is None:
            break
    assert [(one["name"], one["state"]) for one in found] == [
        (f"number {number}", "ended" if number == 1 else "created") for number in range(5)
    ]
    assert [one["session"] for one in found] == [
        hashlib.sha256(one["session"]["id"].encode()).hexdigest()[:16] for one in made
    ]
    assert found[1]["reason"] == "stopped"
    assert_refused(await own_client.get("/sessions", params={"page_token": "x"}), 400, "page_invalid")


async def test_an_owner_has_only_so_many_live_sessions(settings: Settings) -> None:
    async with (
        running(replace(settings, max_sessions=3)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        answers = await asyncio.gather(*(client.post("/sessions", json={}) for _ in range(6)))
        made = [one.json() for one in answers if one.status_code == 201]
        refused = [one for one in answers if one.status_code != 201]
        assert (len(made), len(refused)) == (3, 3)
        for one in refused:
            assert_refused(one, 429, "too_many_sessions")
            assert one.headers["retry-after"]
        await client.delete(path(made[0]), headers=bearer(made[0]))
        await create(client)


async def test_a_page_of_another_origin_creates_and_stops_nothing(client: httpx.AsyncClient) -> None:
    made = await create(client)
    evil = {"Origin": "https://evil.example"}
    assert_refused(await client.post("/sessions", json={}, headers=evil), 403, "forbidden")
    assert_refused(await client.delete(path(made), headers=bearer(made) | evil), 403, "forbidden")
