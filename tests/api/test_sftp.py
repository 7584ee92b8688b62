"""A service whose bytes are on an SFTP server, as its operator would set it up."""

import hashlib
import secrets
from urllib.parse import urlencode

import httpx

from drs_service.settings import Settings
from tests.support.places import CloudPlace
from tests.support.server import running
from tests.support.sftp import SftpServer


async def test_what_is_put_is_on_the_server_and_comes_back(settings: Settings, sftp: SftpServer) -> None:
    place, content = CloudPlace(sftp), secrets.token_bytes(300_000)
    said = {"DRS_STORAGE_URL": f"{place.url}?{urlencode(sftp.options())}", "DRS_FSSPEC_PROTOCOLS": "sftp"}
    async with (
        running(Settings.from_env(settings.to_env() | said)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        answer = await client.put("/upload/a.bin", content=content)
        assert answer.status_code == 201
        assert (await client.get(f"/data/{answer.json()['id']}")).content == content
        assert (await client.get("/readyz")).status_code == 200
    [key] = [key for key in place.raw_keys() if key.startswith("sha256/")]
    assert key.endswith(hashlib.sha256(content).hexdigest())
    assert place.raw_get(key) == content
    assert place.leftovers() == []
    await place.driver.close()
