"""Bytes that were damaged in the store are made whole by whoever sends them again."""

import os

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.traces import blob_file
from tests.support.server import Service


@pytest.mark.parametrize("left", [0, 1000])
async def test_a_file_that_was_cut_off_is_whole_after_it_was_sent_again(
    own_service: Service, own_client: httpx.AsyncClient, some_bytes: bytes, left: int
) -> None:
    first = (await own_client.put("/upload/a.bin", content=some_bytes)).raise_for_status().json()["id"]
    cut_off(own_service.settings, some_bytes, left)
    (await own_client.put("/upload/a.bin", content=some_bytes)).raise_for_status()
    assert (await own_client.get(f"/data/{first}")).raise_for_status().content == some_bytes


def cut_off(settings: Settings, content: bytes, left: int) -> None:
    path = blob_file(settings, content)
    path.chmod(0o600)
    os.truncate(path, left)
