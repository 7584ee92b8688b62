"""Who asks a cloud, as far as it can be tried without one."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from drs_service.blobs.access import Access, AzureAccess, GcsAccess, parsed_connection_string
from drs_service.blobs.bucket import Overrides
from drs_service.blobs.cloud_http import Request
from drs_service.blobs.gcs import GcsBucket
from drs_service.blobs.gcs_keys import Token
from drs_service.blobs.opening import open_driver
from drs_service.errors import SettingsInvalid, StorageUnavailable

EMAIL = "drs@project.example.org"


class Tokens(ThreadingHTTPServer):
    """Gives everybody who asks a token that ends in an hour."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[str] = []
        self.status = 200


class Answering(BaseHTTPRequestHandler):
    server: Tokens

    def do_POST(self) -> None:
        self.server.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        body = json.dumps({"access_token": f"token {len(self.server.asked)}", "expires_in": 3600}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    with Tokens() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def account(tokens: Tokens, key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    said = {
        "type": "service_account",
        "client_email": EMAIL,
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"http://127.0.0.1:{tokens.server_port}/token",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(said))
    return file


async def test_a_service_account_gets_one_token_for_all_requests(account: Path, tokens: Tokens) -> None:
    keys = Token(account)
    request = Request(method="GET", url="http://127.0.0.1/")
    signed = await asyncio.gather(*[keys.sign(request) for _ in range(20)])
    assert {one.headers["Authorization"] for one in signed} == {"Bearer token 1"}
    [asked] = tokens.asked
    assert parse_qs(asked)["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


async def test_a_token_that_is_refused_is_told_soon(account: Path, tokens: Tokens) -> None:
    tokens.status = 403
    bucket = GcsBucket("bucket", "", GcsAccess(credentials_file=account))
    async with asyncio.timeout(8):
        with pytest.raises(StorageUnavailable):
            await bucket.size("a")
    await bucket.close()


async def test_a_file_that_is_no_account_is_told(tmp_path: Path) -> None:
    for content in ("", "{}", '{"type": "service_account"}'):
        (tmp_path / "account.json").write_text(content)
        bucket = GcsBucket("bucket", "", GcsAccess(credentials_file=tmp_path / "account.json"))
        with pytest.raises(StorageUnavailable):
            await bucket.size("a")
        await bucket.close()


async def test_a_service_account_signs_what_google_checks(account: Path, key: rsa.RSAPrivateKey) -> None:
    bucket = GcsBucket("bucket", "a b/", GcsAccess(credentials_file=account))
    said = Overrides(content_type="text/x-said", content_disposition='attachment; filename="said.bin"')
    before = datetime.now(UTC).replace(microsecond=0)
    url = await bucket.presign_read("sha256/abc", expires_in=timedelta(minutes=5), overrides=said)
    await bucket.close()
    parts = urlsplit(url)
    assert (parts.netloc, parts.path) == ("storage.googleapis.com", "/bucket/a%20b/sha256/abc")
    query = {name: value for name, [value] in parse_qs(parts.query).items()}
    stamp = query["X-Goog-Date"]
    assert before <= datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert query["X-Goog-Credential"] == f"{EMAIL}/{stamp[:8]}/auto/storage/goog4_request"
    assert (query["X-Goog-Expires"], query["response-content-type"]) == ("300", "text/x-said")
    # https://cloud.google.com/storage/docs/authentication/signatures
    canonical, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    assert canonical.split("&") == sorted(canonical.split("&"))
    asked = f"GET\n{parts.path}\n{canonical}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = Hash(SHA256())
    digest.update(asked.encode())
    text = f"GOOG4-RSA-SHA256\n{stamp}\n{stamp[:8]}/auto/storage/goog4_request\n{digest.finalize().hex()}"
    key.public_key().verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), SHA256())


def test_a_connection_string_says_where_and_who() -> None:
    said = "DefaultEndpointsProtocol=https;AccountName=name;AccountKey=a2V5==;EndpointSuffix=core.windows.net"
    access = parsed_connection_string(said)
    assert access == AzureAccess(
        account="name", account_key="a2V5==", endpoint_url="https://name.blob.core.windows.net"
    )
    assert "a2V5" not in repr(access)
    there = parsed_connection_string("AccountName=a;AccountKey=b;BlobEndpoint=http://127.0.0.1:1/a;")
    assert there.endpoint_url == "http://127.0.0.1:1/a"


@pytest.mark.parametrize("said", ["", "AccountName=a", "AccountKey=a", "nonsense"])
def test_a_connection_string_without_a_key_is_refused(said: str) -> None:
    with pytest.raises(SettingsInvalid):
        parsed_connection_string(said)


@pytest.mark.parametrize("azure", [AzureAccess(), AzureAccess(account="a", account_key="no Base64")])
def test_azure_without_a_usable_account_is_refused(azure: AzureAccess) -> None:
    with pytest.raises(SettingsInvalid):
        open_driver("az://container", Access(azure=azure))


WITHOUT = """
import sys
for name in ("azure", "azure.identity", "google.auth", "google.oauth2", "requests"):
    sys.modules[name] = None
from drs_service.blobs.access import Access, AzureAccess
from drs_service.blobs.opening import open_driver
from drs_service.errors import SettingsInvalid
for url in ("gs://bucket", "az://container"):
    try:
        open_driver(url, Access(azure=AzureAccess(account="account")))
    except SettingsInvalid as error:
        print(error)
"""


def test_what_is_not_installed_is_named() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert "drs-service[gcs]" in said
    assert "drs-service[azure]" in said
