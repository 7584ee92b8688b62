"""The writes of the 1.6 draft as a client makes them, and what it is told."""

import hashlib
import json
import re
from typing import Any

import httpx

from tests.api.schemas import assert_refused

DRS = "/ga4gh/drs/v1"
OBJECTS = f"{DRS}/objects"
REGISTER = f"{OBJECTS}/register"

Object = dict[str, Any]


async def uploaded(client: httpx.AsyncClient, content: bytes = b"content", name: str = "a.txt") -> Object:
    answer = await client.put(f"/upload/{name}", content=content)
    assert answer.status_code == 201, answer.text
    made: Object = said(answer)
    return made


def said(answer: httpx.Response) -> Any:
    """What an answer's JSON says. There is no null in it: what is not known is not said."""
    assert not re.search(r"[:,\[]\s*null", answer.text), answer.text
    return answer.json()


async def register(client: httpx.AsyncClient, *candidates: Object, **headers: str) -> list[Object]:
    answer = await client.post(REGISTER, json={"candidates": candidates}, headers=headers)
    assert answer.status_code == 201, answer.text
    objects: list[Object] = said(answer)["objects"]
    assert len(objects) == len(candidates)
    return objects


async def registered(client: httpx.AsyncClient, candidate: Object) -> Object:
    [made] = await register(client, candidate)
    return made


async def refused(client: httpx.AsyncClient, status: int, code: str, *candidates: Object) -> str:
    """The message with which these candidates are refused."""
    answer = await client.post(REGISTER, json={"candidates": candidates})
    assert_refused(answer, status, code)
    return str(said(answer)["msg"])


async def got(client: httpx.AsyncClient, object_id: str, **params: str) -> Object:
    answer = await client.get(f"{OBJECTS}/{object_id}", params=params)
    assert answer.status_code == 200, answer.text
    found: Object = said(answer)
    return found


def bundle_of(*members: Object, **more: Any) -> Object:
    """A candidate whose members are called m0, m1, … unless they have names."""
    named = [{"name": f"m{number}", "id": one["id"]} for number, one in enumerate(members)]
    return {"contents": named, **more}


def elsewhere(**more: Any) -> Object:
    """A candidate of bytes that are not kept here."""
    return {
        "name": "reads.bam",
        "size": 7,
        "checksums": [{"type": "md5", "checksum": "0" * 32}],
        "access_methods": [{"type": "https", "access_url": {"url": "https://files.example.com/reads.bam"}}],
        **more,
    }


def of_bytes(content: bytes, **more: Any) -> Object:
    """A candidate of bytes that are here already."""
    return {"checksums": [{"type": "sha-256", "checksum": sha256(content)}], **more}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def checksums(drs_object: Object) -> dict[str, str]:
    return {one["type"]: one["checksum"] for one in drs_object["checksums"]}


def compact(value: Any) -> bytes:
    return json.dumps(value).encode()
