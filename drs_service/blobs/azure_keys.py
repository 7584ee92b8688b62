"""Who asks Azure: the key of the account signs each request, or a token goes with it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import urlsplit

from drs_service.blobs.access import AzureAccess
from drs_service.blobs.bucket import Overrides
from drs_service.blobs.cloud_http import Request, with_query
from drs_service.errors import SettingsInvalid, StorageUnavailable

VERSION = "2021-12-02"  # of Azure's interface
SCOPE = "https://storage.azure.com/.default"
SOURCE_VALID = timedelta(minutes=15)
# Of a request that is signed, in this order.
SIGNED = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)


class Keys(Protocol):
    async def sign(self, request: Request) -> Request: ...

    async def as_source(self, url: str, container: str, name: str) -> Mapping[str, str]:
        """The headers that let Azure itself read what it is to copy."""

    def presigned(self, url: str, container: str, name: str, *, valid: timedelta, overrides: Overrides) -> str:
        """StorageUnavailable if nothing here can sign."""

    async def close(self) -> None: ...


class AccountKey:
    def __init__(self, account: str, key: str) -> None:
        self._account = account
        try:
            self._key = base64.b64decode(key, validate=True)
        except binascii.Error as error:
            raise SettingsInvalid("the key of the Azure account is not Base64") from error

    async def sign(self, request: Request) -> Request:
        request = dated(request)
        # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
        headers = {**request.headers, "Content-Length": str(request.size or "")}
        ours = sorted((name.lower(), said) for name, said in headers.items() if name.lower().startswith("x-ms-"))
        lines = [
            request.method,
            *(headers.get(name, "") for name in SIGNED),
            *(f"{name}:{said}" for name, said in ours),
        ]
        lines.append(f"/{self._account}{urlsplit(request.url).path}")
        lines += [f"{name.lower()}:{said}" for name, said in sorted(request.query.items())]
        return request.with_headers(Authorization=f"SharedKey {self._account}:{self._signature(lines)}")

    async def as_source(self, url: str, container: str, name: str) -> Mapping[str, str]:
        return {"x-ms-copy-source": self.presigned(url, container, name, valid=SOURCE_VALID, overrides=Overrides())}

    def presigned(self, url: str, container: str, name: str, *, valid: timedelta, overrides: Overrides) -> str:
        # https://learn.microsoft.com/rest/api/storageservices/create-service-sas
        expiry = (datetime.now(UTC) + valid).strftime("%Y-%m-%dT%H:%M:%SZ")
        disposition, content_type = overrides.content_disposition or "", overrides.content_type or ""
        resource = f"/blob/{self._account}/{container}/{name}"
        lines = ["r", "", expiry, resource, "", "", "", VERSION, "b", "", "", "", disposition, "", "", content_type]
        said = {"sp": "r", "se": expiry, "sv": VERSION, "sr": "b", "rscd": disposition, "rsct": content_type}
        said["sig"] = self._signature(lines)
        return with_query(url, {name: value for name, value in said.items() if value})

    def _signature(self, lines: list[str]) -> str:
        return base64.b64encode(hmac.digest(self._key, "\n".join(lines).encode(), hashlib.sha256)).decode()

    async def close(self) -> None:
        pass


class Token:
    """What Azure's own library finds: in its variables, of its tools, of the machine."""

    def __init__(self) -> None:
        try:
            # Here, because it is an extra: most services do without.
            from azure.identity.aio import DefaultAzureCredential
        except ImportError as error:
            raise SettingsInvalid(
                "an Azure account without a key of its own needs more: pip install 'drs-service[azure]'"
            ) from error
        self._credential = DefaultAzureCredential()

    async def sign(self, request: Request) -> Request:
        return dated(request).with_headers(Authorization=await self._bearer())

    async def as_source(self, url: str, container: str, name: str) -> Mapping[str, str]:
        return {"x-ms-copy-source": url, "x-ms-copy-source-authorization": await self._bearer()}

    async def _bearer(self) -> str:
        from azure.core.exceptions import AzureError

        try:
            return f"Bearer {(await self._credential.get_token(SCOPE)).token}"
        except AzureError as error:
            raise StorageUnavailable("Azure gives no token to whom asks.", reason=str(error)) from error

    def presigned(self, url: str, container: str, name: str, *, valid: timedelta, overrides: Overrides) -> str:
        raise StorageUnavailable("Only the key of an Azure account can sign URLs.")

    async def close(self) -> None:
        await self._credential.close()


def dated(request: Request) -> Request:
    return request.with_headers(x_ms_date=format_datetime(datetime.now(UTC), usegmt=True), x_ms_version=VERSION)


def keys_of(access: AzureAccess) -> Keys:
    """SettingsInvalid."""
    if access.account is None:
        raise SettingsInvalid("az://container/prefix needs DRS_AZURE_ACCOUNT or DRS_AZURE_CONNECTION_STRING")
    return AccountKey(access.account, access.account_key) if access.account_key is not None else Token()
