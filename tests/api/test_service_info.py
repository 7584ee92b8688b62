"""What service-info promises a client that wants to write is what the service does."""

import hashlib
from dataclasses import replace
from typing import Any

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.schemas import SERVICE_INFO, assert_refused, assert_valid
from tests.support.server import Service, running

DRS = "/ga4gh/drs/v1"
Json = dict[str, Any]


async def told(client: httpx.AsyncClient) -> Json:
    info = (await client.get(f"{DRS}/service-info")).json()
    assert_valid(info, SERVICE_INFO)
    drs: Json = info["drs"]
    return drs


def wanted(size: int = 5, content: bytes = b"hello") -> Json:
    checksums = [{"type": "sha-256", "checksum": hashlib.sha256(content).hexdigest()}]
    return {"name": "hello.txt", "size": size, "mime_type": "text/plain", "checksums": checksums}


def elsewhere() -> Json:
    way = {"type": "https", "access_url": {"url": "https://files.example/x"}}
    return {"size": 5, "checksums": [{"type": "md5", "checksum": "0" * 32}], "access_methods": [way]}


async def registered(client: httpx.AsyncClient) -> str:
    answer = await client.post(f"{DRS}/objects/register", json={"candidates": [elsewhere()]})
    object_id: str = answer.json()["objects"][0]["id"]
    return object_id


async def test_every_flag_is_told(client: httpx.AsyncClient, service: Service) -> None:
    drs = await told(client)
    most = service.settings.max_bulk_request_length
    assert {name: value for name, value in drs.items() if not isinstance(value, bool)} == {
        "maxBulkRequestLength": most,
        "objectCount": drs["objectCount"],
        "totalObjectSize": drs["totalObjectSize"],
        "supportedUploadMethodTypes": ["https"],
        "maxUploadSize": service.settings.max_upload_bytes,
        "maxUploadRequestLength": most,
        "maxRegisterRequestLength": most,
        "maxBulkDeleteLength": most,
        "maxBulkAccessMethodUpdateLength": most,
        "maxBulkChecksumAdditionLength": most,
    }
    assert {name for name, value in drs.items() if value is False} == {
        "validateChecksums",
        "validateAccessMethods",
        "relatedFileStorageSupported",
    }


async def test_the_methods_that_are_told_are_those_that_are_offered(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{DRS}/upload-request", json={"requests": [wanted()]})
    offered = {one["type"] for one in answer.json()["responses"][0]["upload_methods"]}
    assert offered == set((await told(client))["supportedUploadMethodTypes"])


async def test_the_largest_upload_is_the_largest(client: httpx.AsyncClient) -> None:
    most = (await told(client))["maxUploadSize"]
    assert (await client.post(f"{DRS}/upload-request", json={"requests": [wanted(most)]})).status_code == 200
    answer = await client.post(f"{DRS}/upload-request", json={"requests": [wanted(most + 1)]})
    assert_refused(answer, 413, "upload_too_large")


async def test_sizes_of_uploads_are_held_to(client: httpx.AsyncClient) -> None:
    assert (await told(client))["validateFileSizes"]
    assert (await client.put("/upload/hello.txt", content=b"hello")).status_code == 201
    candidate = {"size": 4, "checksums": wanted()["checksums"]}
    answer = await client.post(f"{DRS}/objects/register", json={"candidates": [candidate]})
    assert_refused(answer, 400, "size_mismatch")


async def test_as_many_as_are_told_and_no_more(settings: Settings) -> None:
    async with (
        running(replace(settings, max_bulk_request_length=2)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        drs = await told(client)
        ids = [await registered(client) for _ in range(3)]
        ways = elsewhere()["access_methods"]
        sha1 = [{"type": "sha1", "checksum": "0" * 40}]
        bodies: dict[str, tuple[str, str, list[Json]]] = {
            "maxUploadRequestLength": ("POST", "upload-request", [{"requests": [wanted()] * n} for n in (2, 3)]),
            "maxRegisterRequestLength": (
                "POST",
                "objects/register",
                [{"candidates": [elsewhere()] * n} for n in (2, 3)],
            ),
            "maxBulkAccessMethodUpdateLength": (
                "PUT",
                "objects/access-methods",
                [{"updates": [{"object_id": one, "access_methods": ways} for one in ids[:n]]} for n in (2, 3)],
            ),
            "maxBulkChecksumAdditionLength": (
                "PUT",
                "objects/checksums",
                [{"additions": [{"object_id": one, "checksums": sha1} for one in ids[:n]]} for n in (2, 3)],
            ),
            "maxBulkDeleteLength": ("PUT", "objects/delete", [{"bulk_object_ids": ids[:n]} for n in (2, 3)]),
        }
        for name, (method, path, (enough, too_many)) in bodies.items():
            assert drs[name] == 2
            assert (await client.request(method, f"{DRS}/{path}", json=enough)).is_success, name
            assert_refused(await client.request(method, f"{DRS}/{path}", json=too_many), 413, "too_many")


async def test_what_is_deleted_is_remembered(client: httpx.AsyncClient) -> None:
    assert (await told(client))["metadataRetentionSupported"]
    object_id = await registered(client)
    assert (await client.put(f"{DRS}/objects/{object_id}/delete")).status_code == 204
    assert (await client.get(f"{DRS}/objects/{object_id}")).status_code == 410


@pytest.mark.parametrize("switch", [False, True])
async def test_what_lies_elsewhere_is_looked_at_if_that_is_told(settings: Settings, switch: bool) -> None:
    async with (
        running(replace(settings, verify_external=switch)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        drs = await told(client)
        assert (drs["validateAccessMethods"], drs["validateChecksums"]) == (switch, switch)
        object_id = await registered(client)
        assert (await client.get(f"{DRS}/objects/{object_id}")).status_code == (202 if switch else 200)
